/** Calls the application's callbacks one by one. If one throws, its error is reported and the others are still called. */
export function callEach<T>(listeners: Iterable<(value: T) => unknown>, value: T): unknown[] {
  return [...listeners].map((listener) => {
    try {
      return listener(value);
    } catch (error) {
      report(error);
      return undefined;
    }
  });
}

/** Reports an error as uncaught, so that the page's error handlers get it. */
export function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else
    setTimeout(() => {
      throw error;
    });
}

/** Callbacks of the application for one kind of news. */
export class Listeners<T> {
  readonly #listeners = new Set<(value: T) => unknown>();

  /** The returned function removes the listener. */
  add(listener: (value: T) => unknown): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  call(value: T): unknown[] {
    return callEach(this.#listeners, value);
  }

  clear(): void {
    this.#listeners.clear();
  }
}

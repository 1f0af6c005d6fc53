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

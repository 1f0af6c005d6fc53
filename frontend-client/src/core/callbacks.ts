/** Calls the application's callbacks one by one. One that throws takes nothing from the others: its error is reported. */
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

/** As an uncaught error: the page's error handlers hear of it. */
export function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else
    setTimeout(() => {
      throw error;
    });
}

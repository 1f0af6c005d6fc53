/** The part of `Storage` that the package uses. */
export type KeptStorage = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The page's `localStorage`, or undefined if the page has none or may not use it. */
export function pageStorage(): KeptStorage | undefined {
  try {
    return typeof localStorage === "undefined" ? undefined : localStorage;
  } catch {
    return undefined;
  }
}

export function read(storage: KeptStorage | undefined, name: string): unknown {
  try {
    return JSON.parse(storage?.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/** Ignores errors, because storage may be full or forbidden. The caller still has the value in memory. */
export function write(storage: KeptStorage | undefined, name: string, value: unknown): void {
  try {
    if (value === undefined) storage?.removeItem(name);
    else storage?.setItem(name, JSON.stringify(value));
  } catch {
    // See above.
  }
}

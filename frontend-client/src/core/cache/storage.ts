/** The part of `Storage` that is used. */
export type KeptStorage = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The page's storage, or undefined where it is refused or there is none. */
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

/** Storage may be full or refused: what is in memory stays. */
export function write(storage: KeptStorage | undefined, name: string, value: unknown): void {
  try {
    if (value === undefined) storage?.removeItem(name);
    else storage?.setItem(name, JSON.stringify(value));
  } catch {
    // Nothing to do about it.
  }
}

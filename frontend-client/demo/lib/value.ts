import { useSyncExternalStore } from "react";

/** A value that components follow by themselves, so that a change of it renders only those that show something else then. */
export class Value<T> {
  readonly #listeners = new Set<() => void>();

  constructor(private value: T) {}

  readonly subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  readonly get = () => this.value;

  set(value: T): void {
    this.value = value;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** What `select` makes of the value. Give something that compares by `Object.is`. */
export function useValue<T, S>(value: Value<T>, select: (value: T) => S): S {
  const selected = () => select(value.get());
  return useSyncExternalStore(value.subscribe, selected, selected);
}

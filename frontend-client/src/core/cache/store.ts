import { callEach } from "../callbacks.js";

/** A value to use with React's `useSyncExternalStore`. */
export class Store<T> {
  readonly #listeners = new Set<() => void>();

  constructor(private value: T) {}

  readonly subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };
  readonly get = () => this.value;

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    callEach(this.#listeners, undefined);
  }
}

import { Listeners } from "../callbacks.js";

/** A value to use with React's `useSyncExternalStore`. */
export class Store<T> {
  readonly #listeners = new Listeners<void>();

  /** The value with which a server renders. React hydrates with it, although the page may be live before a part of it is streamed. */
  readonly initial: () => T;

  constructor(private value: T) {
    this.initial = () => value;
  }

  readonly subscribe = (listener: () => void) => this.#listeners.add(listener);
  readonly get = () => this.value;

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    this.#listeners.call();
  }
}

import { elapsed, type PageSignals, type Timers } from "./environment.js";

/** Tells whether a person is active: this page is visible, or the person used some tab recently. */
export class Activity {
  #lastUse: number;
  readonly #unsubscribe: () => void;

  constructor(
    private readonly page: PageSignals,
    private readonly timers: Timers,
    private readonly windowMs: number,
    /** Called when the page is used or shown. */
    onUse: () => void,
  ) {
    this.#lastUse = timers.now();
    const use = () => {
      this.note();
      onUse();
    };
    const unsubscribes = [page.on("used", use), page.on("visibility", () => (page.isVisible() ? use() : this.note()))];
    this.#unsubscribe = () => unsubscribes.forEach((unsubscribe) => unsubscribe());
  }

  /** Records that the person did something here or in another tab. */
  note(): void {
    this.#lastUse = this.timers.now();
  }

  isActive(): boolean {
    return this.page.isVisible() || elapsed(this.timers, this.#lastUse) < this.windowMs;
  }

  close(): void {
    this.#unsubscribe();
  }
}

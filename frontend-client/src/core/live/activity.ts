import { elapsed, type PageSignals, type Timers } from "./environment.js";

/** Whether a person is there: the page is visible, or some tab was used lately. */
export class Activity {
  #lastUse: number;
  readonly #off: () => void;

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
    const offs = [page.on("used", use), page.on("visibility", () => (page.isVisible() ? use() : this.note()))];
    this.#off = () => offs.forEach((off) => off());
  }

  /** The person did something here or in another tab. */
  note(): void {
    this.#lastUse = this.timers.now();
  }

  isActive(): boolean {
    return this.page.isVisible() || elapsed(this.timers, this.#lastUse) < this.windowMs;
  }

  close(): void {
    this.#off();
  }
}

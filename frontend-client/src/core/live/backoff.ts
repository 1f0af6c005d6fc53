import type { Timers } from "./environment.js";

export interface BackoffOptions {
  /** The first wait is between 0 and this. */
  baseMs: number;
  /** The upper limit of a wait. */
  capMs: number;
}

/** Exponential back-off with full jitter, so that after a server's restart its clients do not return all at once. */
export class Backoff {
  #failures = 0;

  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number,
  ) {}

  /** Counts one more failure and returns the milliseconds to wait. `atLeastMs` (from a Retry-After) is added. */
  next(atLeastMs = 0): number {
    const ceiling = Math.min(this.options.capMs, this.options.baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return atLeastMs + this.random() * ceiling;
  }

  reset(): void {
    this.#failures = 0;
  }
}

/** A wait that `wake` or the signal can end early. It always clears its timer. */
export class AbortableSleep {
  #wake: (() => void) | undefined;

  constructor(private readonly timers: Timers) {}

  sleep(ms: number | undefined, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const handle = ms === undefined ? undefined : this.timers.set(() => done(), ms);
      const done = (error?: Error) => {
        if (handle !== undefined) this.timers.clear(handle);
        signal.removeEventListener("abort", onAbort);
        this.#wake = undefined;
        if (error) reject(error);
        else resolve();
      };
      const onAbort = () => done(signal.reason as Error);
      signal.addEventListener("abort", onAbort);
      this.#wake = () => done();
    });
  }

  wake(): void {
    this.#wake?.();
  }
}

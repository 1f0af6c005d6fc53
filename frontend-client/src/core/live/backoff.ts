import type { Timers } from "./environment.js";

export interface BackoffOptions {
  /** The first wait is 0 up to this. */
  baseMs: number;
  /** No wait is longer. */
  capMs: number;
}

/** Exponential back-off with full jitter: after a restart everybody comes back at another moment. */
export class Backoff {
  #failures = 0;

  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number,
  ) {}

  /** Milliseconds to wait after one more failure, `atLeastMs` (a Retry-After) included. */
  next(atLeastMs = 0): number {
    const ceiling = Math.min(this.options.capMs, this.options.baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return atLeastMs + this.random() * ceiling;
  }

  reset(): void {
    this.#failures = 0;
  }
}

/** A wait that `wake` or the signal ends early. No timer is left behind. */
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

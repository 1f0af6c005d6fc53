import type { Channel, Environment, Locks, PageSignal, Timers } from "../../src/index.js";

/** Time that passes only when told. */
export class FakeTimers implements Timers {
  #now = 1_000_000;
  #last = 0;
  readonly waiting = new Map<number, { at: number; callback: () => void }>();

  now = () => this.#now;
  set = (callback: () => void, ms: number) => {
    this.waiting.set((this.#last += 1), { at: this.#now + ms, callback });
    return this.#last;
  };
  clear = (handle: unknown) => void this.waiting.delete(handle as number);

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const next = [...this.waiting].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!next) break;
      this.waiting.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].callback();
      await settle();
    }
    this.#now = end;
  }
}

/** Lets every promise that can go on go on. */
export async function settle(): Promise<void> {
  for (let turns = 0; turns < 8; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A browser: its tabs share locks and channels, and each tab has a page of its own. */
export class FakeBrowser {
  readonly timers = new FakeTimers();
  readonly messages: unknown[] = [];
  readonly #channels = new Set<{ name: string; channel: Channel }>();
  readonly #held = new Set<string>();
  readonly #waiting: { name: string; run: () => void }[] = [];

  tab(options: { locks?: boolean } = {}): FakeTab {
    return new FakeTab(this, options.locks ?? true);
  }

  readonly locks: Locks = {
    request: (name, { signal }, held) =>
      new Promise((resolve, reject) => {
        const run = () => {
          this.#held.add(name);
          signal?.removeEventListener("abort", abort);
          void held()
            .then(resolve, reject)
            .finally(() => {
              this.#held.delete(name);
              const next = this.#waiting.findIndex((one) => one.name === name);
              if (next >= 0) this.#waiting.splice(next, 1)[0]?.run();
            });
        };
        const entry = { name, run };
        const abort = () => {
          const at = this.#waiting.indexOf(entry);
          if (at >= 0) this.#waiting.splice(at, 1);
          reject(new DOMException("aborted", "AbortError"));
        };
        signal?.addEventListener("abort", abort);
        if (this.#held.has(name)) this.#waiting.push(entry);
        else run();
      }),
  };

  readonly openChannel = (name: string): Channel => {
    const entry = {
      name,
      channel: {
        onmessage: null,
        postMessage: (data: unknown) => {
          this.messages.push(data);
          for (const other of this.#channels) {
            if (other !== entry && other.name === name) setImmediate(() => other.channel.onmessage?.({ data: structuredClone(data) }));
          }
        },
        close: () => void this.#channels.delete(entry),
      } as Channel,
    };
    this.#channels.add(entry);
    return entry.channel;
  };
}

export class FakeTab {
  visible = true;
  online = true;
  readonly #listeners = new Map<PageSignal, Set<() => void>>();

  constructor(
    private readonly browser: FakeBrowser,
    private readonly withLocks: boolean,
  ) {}

  get listening(): number {
    return [...this.#listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }

  signal(signal: PageSignal): void {
    for (const listener of [...(this.#listeners.get(signal) ?? [])]) listener();
  }

  environment(): Environment {
    const { timers, locks, openChannel } = this.browser;
    return {
      timers,
      random: () => 0.5,
      locks: this.withLocks ? locks : undefined,
      openChannel,
      page: {
        isVisible: () => this.visible,
        isOnline: () => this.online,
        on: (signal, listener) => {
          const set = this.#listeners.get(signal) ?? new Set();
          this.#listeners.set(signal, set.add(listener));
          return () => set.delete(listener);
        },
      },
    };
  }
}

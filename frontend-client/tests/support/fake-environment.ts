import type { Channel, Environment, Locks, PageSignal, Timers } from "../../src/index.js";

/** Time that passes only when a test advances it. */
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

  /** Time passes and no timer runs meanwhile, as when the machine sleeps. */
  sleep(ms: number): void {
    this.#now += ms;
  }

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

/** Waits until all promises that can settle have settled. */
export async function settle(): Promise<void> {
  for (let turns = 0; turns < 8; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}

interface LockRequest {
  name: string;
  grant: () => void;
}

/** A browser. Its tabs share locks and channels, and each tab has its own page. */
export class FakeBrowser {
  readonly timers = new FakeTimers();
  readonly messages: unknown[] = [];
  readonly tabs: FakeTab[] = [];
  readonly #channels = new Set<{ name: string; channel: Channel; tab: FakeTab | undefined }>();
  /** By lock name: a function that takes the lock from its holder. */
  readonly #held = new Map<string, { lose: () => void }>();
  readonly #waiting: LockRequest[] = [];
  readonly #hung = new Map<FakeTab, (() => void)[]>();

  tab(options: { locks?: boolean } = {}): FakeTab {
    const tab = new FakeTab(this, options.locks ?? true);
    this.tabs.push(tab);
    return tab;
  }

  get channelNames(): string[] {
    return [...this.#channels].map(({ name }) => name);
  }

  /** Stops all code of the tab until it is awake again, as a dialog, a debugger or a long loop does. */
  hang(tab: FakeTab): void {
    this.#hung.set(tab, []);
  }

  awake(tab: FakeTab): void {
    const late = this.#hung.get(tab) ?? [];
    this.#hung.delete(tab);
    late.forEach((callback) => callback());
  }

  /** Runs the callback in the tab, at once or when the tab is awake again. */
  run(tab: FakeTab | undefined, callback: () => void): void {
    const late = tab && this.#hung.get(tab);
    if (late) late.push(callback);
    else callback();
  }

  locksOf(tab?: FakeTab): Locks {
    return {
      request: (name, { signal, steal = false }, held) =>
        new Promise((resolve, reject) => {
          const lost = () => this.run(tab, () => reject(new DOMException("the lock was stolen", "AbortError")));
          const grant = () => {
            const holder = { lose: lost };
            this.#held.set(name, holder);
            signal?.removeEventListener("abort", abort);
            void held()
              .then(resolve, reject)
              .finally(() => {
                if (this.#held.get(name) === holder) this.#release(name);
              });
          };
          const entry = { name, grant };
          const abort = () => {
            const at = this.#waiting.indexOf(entry);
            if (at >= 0) this.#waiting.splice(at, 1);
            reject(new DOMException("aborted", "AbortError"));
          };
          signal?.addEventListener("abort", abort);
          if (steal) {
            this.#held.get(name)?.lose();
            grant();
          } else if (this.#held.has(name)) this.#waiting.push(entry);
          else grant();
        }),
    };
  }

  #release(name: string): void {
    this.#held.delete(name);
    const next = this.#waiting.findIndex((one) => one.name === name);
    if (next >= 0) this.#waiting.splice(next, 1)[0]?.grant();
  }

  readonly openChannel = (name: string, tab?: FakeTab): Channel => {
    const entry = {
      name,
      tab,
      channel: {
        onmessage: null,
        postMessage: (data: unknown) => {
          if (!this.#channels.has(entry)) throw new DOMException("the channel is closed", "InvalidStateError");
          this.messages.push(data);
          for (const other of this.#channels) {
            if (other === entry || other.name !== name) continue;
            setImmediate(() => this.run(other.tab, () => other.channel.onmessage?.({ data: structuredClone(data) })));
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
  focused = true;
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
    const { browser } = this;
    const { timers } = browser;
    return {
      timers: {
        now: timers.now,
        set: (callback, ms) => timers.set(() => browser.run(this, callback), ms),
        clear: timers.clear,
      },
      random: () => 0.5,
      locks: this.withLocks ? browser.locksOf(this) : undefined,
      openChannel: (name) => browser.openChannel(name, this),
      page: {
        isVisible: () => this.visible,
        isOnline: () => this.online,
        hasFocus: () => this.focused,
        on: (signal, listener) => {
          const set = this.#listeners.get(signal) ?? new Set();
          this.#listeners.set(signal, set.add(listener));
          return () => set.delete(listener);
        },
      },
    };
  }
}

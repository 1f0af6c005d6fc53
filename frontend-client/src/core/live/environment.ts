/** What the client reads from a page. Behind an interface, so that it also runs without a page and tests need no browser. */
export interface PageSignals {
  isVisible(): boolean;
  isOnline(): boolean;
  /** Whether the page has the focus. Default: it has. */
  hasFocus?(): boolean;
  /** Calls `listener` at each signal until the returned function is called. */
  on(signal: PageSignal, listener: () => void): () => void;
}

/**
 * `suspend`: the page is left, maybe for the back/forward cache. `resume`: it came back from that cache. `focus`: it got or lost
 * the focus.
 */
export type PageSignal = "visibility" | "online" | "offline" | "used" | "suspend" | "resume" | "focus";

/** The part of BroadcastChannel that the client uses. */
export interface Channel {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
  close(): void;
}

/** The part of the Web Locks API that the client uses. */
export interface Locks {
  request(
    name: string,
    options: { signal?: AbortSignal; steal?: boolean },
    held: () => Promise<void>,
  ): Promise<unknown>;
}

export interface Timers {
  now(): number;
  set(callback: () => void, ms: number): unknown;
  clear(handle: unknown): void;
}

/** Milliseconds since `since`; infinity if the clock was set back meanwhile. */
export function elapsed(timers: Timers, since: number): number {
  const ms = timers.now() - since;
  return ms < 0 ? Number.POSITIVE_INFINITY : ms;
}

/** Everything that the client takes from its surroundings. */
export interface Environment {
  timers: Timers;
  /** A number from 0 up to 1, as Math.random gives. */
  random(): number;
  page: PageSignals;
  locks: Locks | undefined;
  openChannel: ((name: string) => Channel) | undefined;
}

export const systemTimers: Timers = {
  now: () => Date.now(),
  set: (callback, ms) => setTimeout(callback, ms),
  clear: (handle) => clearTimeout(handle as ReturnType<typeof setTimeout>),
};

/** The browser's environment, or a replacement where there is no browser. */
export function defaultEnvironment(): Environment {
  const inPage = typeof document !== "undefined" && typeof window !== "undefined";
  return {
    timers: systemTimers,
    random: Math.random,
    page: inPage ? browserPage() : noPage,
    locks: inPage ? browserLocks() : undefined,
    openChannel:
      inPage && typeof BroadcastChannel !== "undefined"
        ? (name) => new BroadcastChannel(name) as unknown as Channel
        : undefined,
  };
}

/** Reading `navigator.locks` throws in a page that may not store anything. */
function browserLocks(): Locks | undefined {
  try {
    return "locks" in navigator ? (navigator.locks as Locks) : undefined;
  } catch {
    return undefined;
  }
}

const noPage: PageSignals = { isVisible: () => true, isOnline: () => true, on: () => () => undefined };

function browserPage(): PageSignals {
  const listen = (target: EventTarget, types: string[], listener: (event: Event) => void) => {
    for (const type of types) target.addEventListener(type, listener, { passive: true, capture: true });
    return () => {
      for (const type of types) target.removeEventListener(type, listener, { capture: true });
    };
  };
  /** Not of the page's elements, whose focus is captured too. */
  const listenToWindow = (types: string[], listener: () => void) =>
    listen(window, types, (event) => {
      if (event.target === window) listener();
    });
  return {
    isVisible: () => document.visibilityState === "visible",
    isOnline: () => navigator.onLine,
    hasFocus: () => document.hasFocus(),
    on(signal, listener) {
      switch (signal) {
        case "visibility":
          return listen(document, ["visibilitychange"], listener);
        case "online":
        case "offline":
          return listen(window, [signal], listener);
        case "used":
          return listen(window, ["pointerdown", "keydown", "wheel", "touchstart"], listener);
        case "focus":
          return listenToWindow(["focus", "blur"], listener);
        case "suspend":
          return listen(window, ["pagehide"], listener);
        case "resume":
          // iOS and Safari restore a page from the back/forward cache without a visibility event.
          return listen(window, ["pageshow"], (event) => {
            if ((event as PageTransitionEvent).persisted) listener();
          });
      }
    },
  };
}

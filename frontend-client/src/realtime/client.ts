import type { ApiConfig } from "../api/config.js";
import { ApiError, isApiError } from "../api/error.js";
import type { Event } from "../generated/api.js";
import { Activity } from "./activity.js";
import { Backoff, Sleeper, type BackoffOptions } from "./backoff.js";
import { Tabs, type TabMessage } from "./broadcast.js";
import { defaultEnvironment, type Environment } from "./environment.js";
import { campaign } from "./leader.js";
import { EventLog } from "./log.js";
import { Queue } from "./queue.js";
import { sameStatus, type RealtimeStatus } from "./status.js";

export interface RealtimeOptions {
  /** Where the server is and who asks. */
  config: ApiConfig;
  /** Whose events these are: tabs share one poll only if this is the same. */
  user: string | number;
  /** The oldest `last_event_id` among the snapshots that are cached now: events are wanted from there. */
  initialCursor?: () => number | undefined;
  /** A person counts as active this long after the last use of a hidden page. Default: 5 minutes. */
  activeWindowMs?: number;
  /** Default: the server's, 60 s. */
  heartbeatMs?: number;
  /** Default: 0..1 s at first, 0..30 s at last. */
  backoff?: BackoffOptions;
  environment?: Partial<Environment>;
}

/** What changed in the log. After `reset`, no snapshot that was fetched before can be brought up to date. */
export interface LogChange {
  events: Event[];
  reset: boolean;
}

/** A promise keeps the status at `catching_up` until it settles. */
export type ChangeListener = (change: LogChange) => void | Promise<void>;

/** A poll is given up this long after the server should have answered: the connection is dead. */
const POLL_GRACE_MS = 10_000;
/** An empty answer sooner than this is a server on its way down. */
const HURRIED_MS = 1_000;

/**
 * Keeps one tab's log of events current: register, poll, heartbeat, catch up, with one poll per browser.
 *
 * Invariant: `log` has no hole. Whatever would make one resets it, and says so to the listeners.
 */
export class RealtimeClient {
  readonly log = new EventLog();
  readonly #environment: Environment;
  readonly #tab: string;
  readonly #sleeper: Sleeper;
  readonly #listeners = new Set<ChangeListener>();
  readonly #statusListeners = new Set<(status: RealtimeStatus) => void>();
  #status: RealtimeStatus = { state: "connecting" };
  #run: AbortController | undefined;
  #poll: AbortController | undefined;
  #tabs: Tabs | undefined;
  #activity: Activity | undefined;
  #leading = false;
  #lastContact: number;
  #offPage: (() => void)[] = [];

  constructor(private readonly options: RealtimeOptions) {
    this.#environment = { ...defaultEnvironment(), ...options.environment };
    this.#sleeper = new Sleeper(this.#environment.timers);
    this.#lastContact = this.#environment.timers.now();
    this.#tab = Math.floor(this.#environment.random() * 2 ** 52).toString(36) + this.#lastContact.toString(36);
  }

  get status(): RealtimeStatus {
    return this.#status;
  }

  /** Whether this tab polls for all tabs. */
  get isLeader(): boolean {
    return this.#leading;
  }

  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onStatus(listener: (status: RealtimeStatus) => void): () => void {
    this.#statusListeners.add(listener);
    return () => this.#statusListeners.delete(listener);
  }

  /** Begins, or begins again after `signed_out`. Does nothing while it runs. */
  start(): void {
    if (this.#run) return;
    const { page } = this.#environment;
    const wake = () => this.#wake();
    this.#offPage = [
      page.on("online", () => {
        // A poll that was parked before the network changed may never be answered.
        this.#poll?.abort(new Interrupted());
        wake();
      }),
      page.on("offline", () => {
        if (this.#leading) this.#poll?.abort(new Interrupted());
      }),
      page.on("suspend", () => this.#stop()),
      page.on("resume", () => this.#go()),
    ];
    this.#go();
  }

  /** Stops for good: no timer, no request and no queue is left. */
  close(): void {
    this.#offPage.forEach((off) => off());
    this.#offPage = [];
    this.#stop();
    this.#listeners.clear();
    this.#statusListeners.clear();
  }

  #go(): void {
    if (this.#run) return;
    const { locks, openChannel, page, timers } = this.#environment;
    const run = (this.#run = new AbortController());
    const name = `discussions:${this.options.config.baseUrl ?? ""}:${this.options.user}`;
    // Without locks every tab leads, and what it told the others they would have twice.
    this.#tabs = new Tabs(locks && openChannel, name, (message) => this.#receive(message));
    this.#activity = new Activity(page, timers, this.options.activeWindowMs ?? 5 * 60_000, () => this.#used());
    this.#setStatus({ state: "connecting" });
    this.#tabs.post({ kind: "hello", tab: this.#tab, since: this.log.head ?? this.options.initialCursor?.() ?? null });
    void campaign(locks && openChannel ? locks : undefined, name, run.signal, (signal) => this.#lead(signal));
  }

  #stop(): void {
    this.#run?.abort();
    this.#run = undefined;
    this.#activity?.close();
    this.#tabs?.close();
  }

  // --- the leader ---

  async #lead(signal: AbortSignal): Promise<void> {
    this.#leading = true;
    const { random, timers } = this.#environment;
    const backoff = new Backoff(this.options.backoff ?? { baseMs: 1_000, capMs: 30_000 }, random);
    let queue: Queue | undefined;
    /** The next poll is to be answered at once, to learn whether the server is there. */
    let probe = true;
    let lost = 0;
    const stopHeartbeats = this.#heartbeats(() => queue, signal);
    try {
      while (!signal.aborted) {
        try {
          queue ??= await this.#register(signal);
          const begun = timers.now();
          const cursor = this.log.head ?? queue.registration.last_event_id;
          const answer = await this.#pollOnce(queue, cursor, probe, signal);
          if (answer.kind === "gone") {
            queue = undefined;
            // Nobody is there: the queue went for want of heartbeats, and comes back with the person.
            if (!this.#isActive()) await this.#pause(undefined, signal);
            else if (lost++ > 0) await this.#pause(backoff.next(), signal);
            continue;
          }
          if (answer.kind === "catchup") {
            queue.close();
            queue = undefined;
            queue = await this.#catchUp(signal);
            continue;
          }
          this.#contact();
          lost = 0;
          this.#publish({ kind: "answer", from: cursor, events: answer.events, head: answer.head });
          if (this.#status.state !== "catching_up") this.#setStatus({ state: "live" });
          const hurried = !probe && answer.events.length === 0 && timers.now() - begun < HURRIED_MS;
          probe = false;
          if (hurried) await this.#sleeper.sleep(backoff.next(), signal);
          else backoff.reset();
        } catch (error) {
          if (signal.aborted) return;
          if (error instanceof ApiError && error.status === 401) {
            this.#signedOut(error);
            return;
          }
          probe = true;
          if (error instanceof Interrupted && this.#environment.page.isOnline()) continue;
          this.#fail(error);
          const atLeast = error instanceof ApiError ? error.retryAfterMs : undefined;
          await this.#sleeper.sleep(backoff.next(atLeast), signal).catch(() => undefined);
        }
      }
    } finally {
      stopHeartbeats();
      queue?.close();
      this.#leading = false;
    }
  }

  async #register(signal: AbortSignal): Promise<Queue> {
    const queue = await Queue.open(this.options.config, signal);
    this.#contact();
    if (this.log.head === undefined) {
      const head = queue.registration.last_event_id;
      this.log.reset(Math.min(this.options.initialCursor?.() ?? head, head));
    }
    return queue;
  }

  /**
   * Goes on from a head that is read before anything is fetched anew, so that every fresh snapshot is at it or newer:
   * no event falls between, in any tab.
   */
  async #catchUp(signal: AbortSignal): Promise<Queue> {
    this.#setStatus({ state: "catching_up" });
    const queue = await Queue.open(this.options.config, signal);
    this.#contact();
    const head = queue.registration.last_event_id;
    void this.#publish({ kind: "answer", from: head, events: [], head, reset: true }).then(() => {
      if (!signal.aborted && this.#status.state === "catching_up") this.#setStatus({ state: "live" });
    });
    return queue;
  }

  async #pollOnce(queue: Queue, cursor: number, probe: boolean, signal: AbortSignal) {
    const { timers } = this.#environment;
    const poll = (this.#poll = new AbortController());
    const seconds = probe ? 0 : queue.registration.poll_timeout_seconds;
    const timer = timers.set(() => poll.abort(new TypeError("the poll was not answered")), seconds * 1000 + POLL_GRACE_MS);
    const onAbort = () => poll.abort(signal.reason);
    signal.addEventListener("abort", onAbort);
    try {
      return await queue.poll(cursor, seconds, poll.signal);
    } catch (error) {
      throw poll.signal.aborted ? poll.signal.reason : error;
    } finally {
      timers.clear(timer);
      signal.removeEventListener("abort", onAbort);
      this.#poll = undefined;
    }
  }

  /** Sends heartbeats while a person is there. A queue that is gone is the poll's to notice. */
  #heartbeats(queue: () => Queue | undefined, signal: AbortSignal): () => void {
    const { random, timers } = this.#environment;
    let handle: unknown;
    const schedule = () => {
      const every = this.options.heartbeatMs ?? (queue()?.registration.heartbeat_interval_seconds ?? 60) * 1000;
      handle = timers.set(() => {
        if (this.#isActive()) queue()?.heartbeat(signal).catch(() => undefined);
        schedule();
      }, every * (0.9 + 0.1 * random()));
    };
    schedule();
    return () => timers.clear(handle);
  }

  async #pause(ms: number | undefined, signal: AbortSignal): Promise<void> {
    this.#fail(undefined);
    await this.#sleeper.sleep(ms, signal);
  }

  #contact(): void {
    this.#lastContact = this.#environment.timers.now();
  }

  #fail(error: unknown): void {
    const since = this.#lastContact;
    if (!this.#environment.page.isOnline()) this.#setStatus({ state: "offline", since });
    else this.#setStatus({ state: "stale", since, ...(isApiError(error) && error.code ? { code: error.code } : {}) });
  }

  #signedOut(error: ApiError): void {
    this.#setStatus({ state: "signed_out", ...(error.code ? { code: error.code } : {}) });
    this.#stop();
  }

  // --- every tab ---

  /** Tells the other tabs, then this one. */
  #publish(answer: Extract<TabMessage, { kind: "answer" }>): Promise<void> {
    this.#tabs?.post(answer);
    return this.#apply(answer);
  }

  async #apply(answer: Extract<TabMessage, { kind: "answer" }>): Promise<void> {
    let fresh = answer.reset ? false : this.log.append(answer.from, answer.events, answer.head);
    const reset = fresh === false;
    if (fresh === false) {
      this.log.reset(answer.from);
      fresh = this.log.append(answer.from, answer.events, answer.head) || [];
    }
    if (fresh.length === 0 && !reset) return;
    const change = { events: fresh, reset: answer.reset === true };
    await Promise.allSettled([...this.#listeners].map(async (listener) => listener(change)));
  }

  #receive(message: TabMessage): void {
    switch (message.kind) {
      case "answer":
        if (!this.#leading && (message.to === undefined || message.to === this.#tab)) void this.#apply(message);
        return;
      case "status":
        // A tab that is signed out leaves: its successor tells how things are.
        if (!this.#leading && message.status.state !== "signed_out") this.#setStatus(message.status);
        return;
      case "hello":
        if (this.#leading) this.#welcome(message.tab, message.since);
        return;
      case "active":
        this.#activity?.note();
        this.#sleeper.wake();
        return;
      case "wake":
        this.#sleeper.wake();
    }
  }

  #welcome(tab: string, since: number | null): void {
    const head = this.log.head;
    if (head !== undefined) {
      const events = since === null ? undefined : this.log.since(since);
      const from = events && since !== null ? Math.min(since, head) : head;
      this.#tabs?.post({ kind: "answer", from, events: events ?? [], head, to: tab });
    }
    this.#tabs?.post({ kind: "status", status: this.#status });
  }

  #isActive(): boolean {
    return this.#activity?.isActive() ?? false;
  }

  #lastToldUse = Number.NEGATIVE_INFINITY;

  /** The page was used or shown. The leader is told now and then, since its heartbeats stand for all tabs. */
  #used(): void {
    const now = this.#environment.timers.now();
    if (this.#leading) this.#sleeper.wake();
    else if (now - this.#lastToldUse > 10_000) {
      this.#lastToldUse = now;
      this.#tabs?.post({ kind: "active" });
    }
  }

  #wake(): void {
    if (this.#leading) this.#sleeper.wake();
    else this.#tabs?.post({ kind: "wake" });
  }

  #setStatus(status: RealtimeStatus): void {
    if (sameStatus(status, this.#status)) return;
    this.#status = status;
    if (this.#leading) this.#tabs?.post({ kind: "status", status });
    for (const listener of [...this.#statusListeners]) listener(status);
  }
}

/** The poll was ended by this side, to try again. */
class Interrupted extends Error {}

import type { ApiConfig } from "../api/config.js";
import { Listeners, report } from "../callbacks.js";
import type { Event } from "../generated/api.js";
import type { Only } from "../wire.js";
import { Activity } from "./activity.js";
import type { BackoffOptions } from "./backoff.js";
import { defaultEnvironment, elapsed, type Environment } from "./environment.js";
import { Leader, type LogAnswer } from "./leader.js";
import { EventLog } from "./log.js";
import { runAsLeader } from "./run-as-leader.js";
import { sameStatus, type RealtimeStatus } from "./status.js";
import { TAB_PROTOCOL, TabChannel, type TabMessage } from "./tab-channel.js";

export interface RealtimeOptions {
  /** Where the server is and who asks. */
  config: ApiConfig;
  /** The user's id. Tabs share one poll only if they have the same `user`. */
  user: string | number;
  /** The oldest `last_event_id` of the cached snapshots. The client asks for the events after it. */
  initialCursor?: () => number | undefined;
  /**
   * Leaves events out: those of other articles than `article_ids`, of what the user does not follow, or of other types. Tabs share
   * one poll only if they have the same `only`.
   */
  only?: Only;
  /** Public communities in which the user is no member, to get their events too: 100 at most. `watch` changes it. */
  watch?: readonly number[];
  /** How long a person counts as active after the last use of a page that is now hidden. Default: 5 minutes. */
  activeWindowMs?: number;
  /** Default: what the server says, which is 60 s. */
  heartbeatMs?: number;
  /** Default: at first 0 to 1 s, at most 0 to 30 s. */
  backoff?: BackoffOptions;
  environment?: Partial<Environment>;
}

/** What changed in the log. With `reset`, no earlier snapshot can be brought up to date by events. */
export interface LogChange {
  events: Event[];
  reset: boolean;
}

/** If the listener returns a promise, the status stays at `catching_up` until it settles. */
export type ChangeListener = (change: LogChange) => void | Promise<void>;

/** The communities whose events reach this tab. Of each of them the log has all events from `since` on. */
export interface Coverage {
  communities: readonly number[];
  since: number;
}

/** The most communities that a queue watches. */
const MOST_WATCHED = 100;

/** The leader sends a sign of life this often. In a hidden tab a browser may delay it to once a minute. */
const BEAT_MS = 15_000;
/** A leader that is silent for this long is taken to hang. */
const SILENT_MS = 75_000;
/** The other tabs wait between this time and twice this time before they steal a silent leader's lock. The first one gets it. */
const STEAL_MS = 15_000;

/**
 * Keeps one tab's log of events current: it registers, polls, sends heartbeats and catches up. All tabs of a browser share
 * one poll.
 *
 * Invariant: `log` has no gap. If an answer would leave one, the client resets the log and tells its listeners.
 */
export class RealtimeClient {
  readonly log = new EventLog();
  readonly #environment: Environment;
  readonly #tab: string;
  readonly #changes = new Listeners<LogChange>();
  readonly #statuses = new Listeners<RealtimeStatus>();
  readonly #leaderships = new Listeners<boolean>();
  readonly #coverages = new Listeners<Coverage>();
  #coverage: Coverage | undefined;
  /** What this tab watches. */
  #watch: readonly number[];
  /** By other tab: what it watches, and when it last said so. */
  readonly #watchOfTabs = new Map<string, { ids: readonly number[]; at: number }>();
  #status: RealtimeStatus = { state: "connecting" };
  #run: AbortController | undefined;
  #steal = new AbortController();
  #tabs: TabChannel | undefined;
  #activity: Activity | undefined;
  #leader: Leader | undefined;
  #lastHeard: number;
  #silence: unknown;
  #stopListening: (() => void)[] = [];

  constructor(private readonly options: RealtimeOptions) {
    this.#environment = { ...defaultEnvironment(), ...options.environment };
    this.#lastHeard = this.#environment.timers.now();
    this.#watch = sortedIds(options.watch ?? []);
    this.#tab = Math.floor(this.#environment.random() * 2 ** 52).toString(36) + this.#lastHeard.toString(36);
  }

  get status(): RealtimeStatus {
    return this.#status;
  }

  /** Whether this tab polls for all tabs. */
  get isLeader(): boolean {
    return this.#leader !== undefined;
  }

  onChange(listener: ChangeListener): () => void {
    return this.#changes.add(listener);
  }

  onStatus(listener: (status: RealtimeStatus) => void): () => void {
    return this.#statuses.add(listener);
  }

  /** Calls the listener when this tab begins or stops to poll for all tabs. */
  onLeader(listener: (isLeader: boolean) => void): () => void {
    return this.#leaderships.add(listener);
  }

  /** Calls the listener when the server says which communities' events it sends. */
  onCoverage(listener: (coverage: Coverage) => void): () => void {
    return this.#coverages.add(listener);
  }

  /** Watches these communities from now on, and no others. */
  watch(ids: readonly number[]): void {
    const before = this.#watch;
    this.#watch = sortedIds(ids);
    if (String(before) === String(this.#watch)) return;
    if (this.#leader) this.#leader.watchChanged();
    else this.#postWatch();
  }

  #postWatch(): void {
    this.#tabs?.post({ kind: "watch", tab: this.#tab, ids: [...this.#watch] });
  }

  /** What all tabs watch. A tab that is closed says nothing any more. */
  #watchOfAll(): number[] {
    const { timers } = this.#environment;
    for (const [tab, { at }] of this.#watchOfTabs) if (elapsed(timers, at) > SILENT_MS) this.#watchOfTabs.delete(tab);
    return sortedIds([...this.#watch, ...[...this.#watchOfTabs.values()].flatMap(({ ids }) => ids)]);
  }

  #cover(coverage: Coverage): void {
    this.#coverage = coverage;
    this.#coverages.call(coverage);
  }

  /** Starts the client, also again after `signed_out`. Does nothing while the client runs. */
  start(): void {
    if (this.#run) return;
    this.#listenToPage();
    this.#go();
  }

  /** Ends a wait and tries at once. After `signed_out` it starts the client again. */
  reconnect(): void {
    if (this.#run) this.#wake("asked");
    else this.start();
  }

  /** Stops the client for good. It leaves no timer, request or queue. */
  close(): void {
    this.#stop();
    this.#stopListening.forEach((unsubscribe) => unsubscribe());
    this.#stopListening = [];
    for (const listeners of [this.#changes, this.#statuses, this.#leaderships, this.#coverages]) listeners.clear();
  }

  #listenToPage(): void {
    const { page } = this.#environment;
    this.#stopListening.forEach((unsubscribe) => unsubscribe());
    this.#stopListening = [
      page.on("online", () => {
        // The answer of a poll that was parked before the network changed may never arrive.
        this.#leader?.interrupt();
        this.#wake("network");
      }),
      page.on("offline", () => this.#leader?.interrupt()),
      page.on("suspend", () => this.#stop()),
      page.on("resume", () => this.#go()),
    ];
  }

  #go(): void {
    if (this.#run) return;
    const { locks, openChannel, page, timers } = this.#environment;
    const run = (this.#run = new AbortController());
    const only = this.options.only ? `:${JSON.stringify(this.options.only)}` : "";
    const name = `discussions:${TAB_PROTOCOL}:${this.options.config.baseUrl ?? ""}:${this.options.user}${only}`;
    // Without locks every tab is a leader. It must not send its events to the others, which get them from their own polls.
    const tabs = new TabChannel(locks && openChannel, name, (message) => this.#receive(message));
    this.#tabs = tabs;
    this.#activity = new Activity(page, timers, this.options.activeWindowMs ?? 5 * 60_000, () => this.#used());
    this.#setStatus({ state: "connecting" });
    tabs.post({ kind: "hello", tab: this.#tab, since: this.log.head ?? this.options.initialCursor?.() ?? null });
    if (this.#watch.length > 0) this.#postWatch();
    if (tabs.isOpen) this.#heard();
    // A status listener may have stopped the client.
    if (run.signal.aborted) return;
    runAsLeader(
      tabs.isOpen ? locks : undefined,
      name,
      run.signal,
      (signal) => this.#lead(signal),
      () => this.#steal.signal,
    ).catch(report);
  }

  #stop(): void {
    this.#run?.abort();
    this.#run = undefined;
    this.#activity?.close();
    this.#tabs?.close();
    this.#environment.timers.clear(this.#silence);
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { options } = this;
    const leader = new Leader({
      config: options.config,
      user: options.user,
      environment: this.#environment,
      log: this.log,
      backoff: options.backoff,
      heartbeatMs: options.heartbeatMs,
      initialCursor: () => options.initialCursor?.(),
      wanted: () => ({ only: options.only, watch: this.#watchOfAll() }),
      covers: (communities, since) => {
        this.#tabs?.post({ kind: "communities", ids: [...communities], since });
        this.#cover({ communities, since });
      },
      isActive: () => this.#activity?.isActive() ?? false,
      publish: (answer) => this.#publish(answer),
      status: () => this.#status,
      setStatus: (status) => {
        if (status.state === "signed_out") this.#stop();
        this.#setStatus(status);
      },
    });
    this.#leader = leader;
    this.#leaderships.call(true);
    this.#environment.timers.clear(this.#silence);
    this.#watchOfTabs.clear();
    const stopBeats = this.#beat();
    try {
      await leader.run(signal);
    } finally {
      stopBeats();
      if (this.#leader === leader) {
        this.#leader = undefined;
        this.#leaderships.call(false);
      }
      // If the lock was stolen, this tab follows the new leader.
      if (signal.aborted && this.#run) this.#heard();
    }
  }

  /** Sends the answer to the other tabs and applies it in this one. */
  #publish(answer: LogAnswer): Promise<void> {
    this.#tabs?.post({ kind: "answer", ...answer });
    return this.#apply(answer);
  }

  async #apply(answer: LogAnswer): Promise<void> {
    let fresh = answer.reset ? false : this.log.append(answer.from, answer.events, answer.head);
    const reset = fresh === false;
    if (fresh === false) {
      this.log.reset(answer.from);
      fresh = this.log.append(answer.from, answer.events, answer.head) || [];
    }
    if (fresh.length === 0 && !reset) return;
    const settled = this.#changes.call({ events: fresh, reset: answer.reset === true });
    await Promise.all(settled.map((one) => Promise.resolve(one).catch(report)));
  }

  #receive(message: TabMessage): void {
    switch (message.kind) {
      case "answer":
      case "status":
      case "communities":
      case "beat":
        if (!this.#leader) this.#follow(message);
        return;
      case "hello":
        if (this.#leader) this.#welcome(message.tab, message.since);
        return;
      case "active":
      case "present":
        this.#activity?.note();
        this.#leader?.wake(message.kind === "active" ? "used" : "present");
        return;
      case "watch":
        this.#watchOfTabs.set(message.tab, { ids: message.ids, at: this.#environment.timers.now() });
        this.#leader?.watchChanged();
        return;
      case "wake":
        this.#leader?.wake("network");
    }
  }

  /** Handles a message of the leader. */
  #follow(message: Extract<TabMessage, { kind: "answer" | "status" | "communities" | "beat" }>): void {
    this.#heard();
    if (message.kind === "beat") {
      if (this.#environment.page.isVisible()) this.#tabs?.post({ kind: "present" });
      if (this.#watch.length > 0) this.#postWatch();
    } else if (message.kind === "communities") {
      this.#cover({ communities: message.ids, since: message.since });
    } else if (message.kind === "status") {
      // A leader that is signed out ends, and the next leader sends its own status.
      if (message.status.state !== "signed_out") this.#setStatus(message.status);
    } else if (message.to === undefined || message.to === this.#tab) {
      // A head that goes back belongs to another history of the database than this tab's log.
      const goesBack = message.to === undefined && message.head < (this.log.head ?? 0);
      void this.#apply(goesBack ? { ...message, reset: true } : message);
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
    if (this.#coverage) {
      const { communities, since } = this.#coverage;
      this.#tabs?.post({ kind: "communities", ids: [...communities], since });
    }
  }

  /** Sends a sign of life at once and then regularly. */
  #beat(): () => void {
    const { timers } = this.#environment;
    let handle: unknown;
    const beat = () => {
      this.#tabs?.post({ kind: "beat" });
      handle = timers.set(beat, BEAT_MS);
    };
    if (this.#tabs?.isOpen) beat();
    return () => timers.clear(handle);
  }

  /** Records that the leader is alive. If it becomes silent, this tab becomes `stale` and later steals the lock. */
  #heard(): void {
    const { random, timers } = this.#environment;
    this.#lastHeard = timers.now();
    timers.clear(this.#silence);
    this.#silence = timers.set(() => {
      this.#setStatus({ state: "stale", since: this.#lastHeard });
      this.#silence = timers.set(
        () => {
          this.#steal.abort();
          this.#steal = new AbortController();
        },
        STEAL_MS * (1 + random()),
      );
    }, SILENT_MS);
  }

  #lastReportedUse = Number.NEGATIVE_INFINITY;

  /** The page was used or shown. This tab tells the leader from time to time, because its heartbeats are for all tabs. */
  #used(): void {
    const { timers } = this.#environment;
    if (this.#leader) this.#leader.wake("used");
    else if (elapsed(timers, this.#lastReportedUse) > 10_000) {
      this.#lastReportedUse = timers.now();
      this.#tabs?.post({ kind: "active" });
    }
  }

  #wake(reason: "network" | "asked"): void {
    if (this.#leader) this.#leader.wake(reason);
    else this.#tabs?.post({ kind: "wake" });
  }

  #setStatus(status: RealtimeStatus): void {
    if (sameStatus(status, this.#status)) return;
    this.#status = status;
    if (this.#leader) this.#tabs?.post({ kind: "status", status });
    this.#statuses.call(status);
  }
}

function sortedIds(ids: readonly number[]): number[] {
  return [...new Set(ids)].sort((a, b) => a - b).slice(0, MOST_WATCHED);
}

import type { ApiConfig } from "../api/config.js";
import { ApiError, isApiError, isTransient } from "../api/error.js";
import type { ErrorCode, Event } from "../generated/api.js";
import { AbortableSleep, Backoff, type BackoffOptions } from "./backoff.js";
import type { Environment } from "./environment.js";
import type { EventLog } from "./log.js";
import { Queue, type Wanted } from "./queue.js";
import type { RealtimeStatus } from "./status.js";

/** If the server answers a poll this much too late, the connection is taken to be dead and the poll ends. */
const POLL_GRACE_MS = 10_000;
/** A registration that takes longer ends: the server, a proxy or the token function hangs. */
const REGISTER_LIMIT_MS = 30_000;
/** An empty answer sooner than this means that the server is shutting down. */
const EARLY_ANSWER_MS = 1_000;
/** The wait before a change of what is watched is sent again. */
const WATCH_RETRY_MS = 5_000;
/** The wait after a refusal that will probably stay, such as that of a user without a community. */
const REFUSED_MS = 300_000;

/** Events that continue the log at `from`. With `reset`, no earlier snapshot can be brought up to date by events. */
export interface LogAnswer {
  from: number;
  events: Event[];
  head: number;
  reset?: boolean;
}

/** What a leader needs from its tab. */
export interface LeaderHost {
  readonly config: ApiConfig;
  readonly user: string | number;
  readonly environment: Environment;
  readonly log: EventLog;
  readonly backoff: BackoffOptions | undefined;
  readonly heartbeatMs: number | undefined;
  /** The cursor of the oldest cached snapshot. */
  initialCursor(): number | undefined;
  /** What all tabs want. */
  wanted(): Wanted;
  /** The communities whose events come, and the event from which on all of them do. */
  covers(communities: readonly number[], since: number): void;
  /** Whether a person uses some tab. */
  isActive(): boolean;
  /** Sends the answer to all tabs. The promise settles when this tab has applied it. */
  publish(answer: LogAnswer): Promise<void>;
  status(): RealtimeStatus;
  setStatus(status: RealtimeStatus): void;
}

/**
 * The leader's states. A state says what the leader does next:
 *
 * | state | action | next state |
 * | --- | --- | --- |
 * | `register` | registers a queue | `probe` |
 * | `probe` | polls with time-out 0, to learn whether the server answers | the same as of `poll` |
 * | `poll` | polls | `poll`. Queue gone: `register`, or `wait` if it was gone just before, or `absent` if no person is active. Catch-up required: `catch_up`, or `wait` if it was required just before |
 * | `catch_up` | registers a new queue and makes all tabs fetch their lists again, at its head | `probe` |
 * | `wait` | waits, longer after each failure | the state that was to be next |
 * | `refused` | waits long, because another try would probably be refused too | `register` |
 * | `absent` | waits for a person | `register` |
 * | `signed_out` | the leader ends | |
 *
 * Errors in any state: 401 leads to `signed_out`, another refusal to `refused`. Any other error leads to `wait`, and then to
 * `probe` if there is a queue, else to `register`. After `interrupt` the wait is left out.
 */
export type LeaderState = "register" | "probe" | "poll" | "catch_up" | "wait" | "refused" | "absent" | "signed_out";

type Step = (signal: AbortSignal) => Promise<LeaderState>;

export class Leader {
  readonly #sleep: AbortableSleep;
  readonly #backoff: Backoff;
  #state: LeaderState = "register";
  /** The state after `wait`, and the least time to wait. */
  #after: { state: LeaderState; ms: number } = { state: "register", ms: 0 };
  #queue: Queue | undefined;
  #poll: AbortController | undefined;
  /** How often the queue was gone, and how often a catch-up was required, since the last good answer. */
  readonly #failedPolls = { register: 0, catch_up: 0 };
  #lastContact: number;
  #watching: { queue: Queue; ends: AbortController } | undefined;
  #watchTimer: unknown;

  constructor(private readonly host: LeaderHost) {
    const { random, timers } = host.environment;
    this.#sleep = new AbortableSleep(timers);
    this.#backoff = new Backoff(host.backoff ?? { baseMs: 1_000, capMs: 30_000 }, random);
    this.#lastContact = timers.now();
  }

  readonly #steps: Record<Exclude<LeaderState, "signed_out">, Step> = {
    register: async (signal) => {
      await this.#register(signal);
      const { log } = this.host;
      if (log.head === undefined) {
        const head = this.#registration().last_event_id;
        log.reset(Math.min(this.host.initialCursor() ?? head, head));
      }
      return "probe";
    },
    probe: (signal) => this.#pollOnce(0, signal),
    poll: (signal) => this.#pollOnce(this.#registration().poll_timeout_seconds, signal),
    catch_up: async (signal) => {
      this.host.setStatus({ state: "catching_up" });
      // The new head is known before any tab fetches again, so every new snapshot is at this head or newer.
      await this.#register(signal);
      const head = this.#registration().last_event_id;
      void this.host.publish({ from: head, events: [], head, reset: true }).then(() => {
        if (!signal.aborted && this.host.status().state === "catching_up") this.host.setStatus({ state: "live" });
      });
      return "probe";
    },
    wait: async (signal) => {
      await this.#pause(this.#backoff.next(this.#after.ms), signal);
      return this.#after.state;
    },
    refused: async (signal) => {
      await this.#pause(REFUSED_MS * (1 + this.host.environment.random()), signal);
      return "register";
    },
    absent: async (signal) => {
      this.#setSilent(undefined);
      await this.#sleep.sleep(undefined, signal);
      return "register";
    },
  };

  /** Runs until the signal aborts or the server refuses the token. */
  async run(signal: AbortSignal): Promise<void> {
    const stopHeartbeats = this.#heartbeats(signal);
    try {
      while (!signal.aborted && this.#state !== "signed_out") {
        try {
          this.#state = await this.#steps[this.#state](signal);
        } catch (error) {
          if (!signal.aborted) this.#state = this.#failed(error);
        }
      }
    } finally {
      stopHeartbeats();
      this.#dropQueue();
    }
  }

  /** Ends a wait, because the next try may now succeed. The person's activity alone does not end the wait after a refusal. */
  wake(reason: "used" | "network" | "asked" | "present"): void {
    if (this.#state === "refused" && reason === "used") return;
    if (this.#state !== "absent" && reason === "present") return;
    this.#sleep.wake();
  }

  /** Sends what the tabs want to watch, if it has changed. A user of no community gets a queue if they watch one. */
  watchChanged(): void {
    if (this.#state === "refused") this.#sleep.wake();
    const queue = this.#queue;
    if (!queue || this.#watching?.queue === queue) return;
    const ends = new AbortController();
    this.#watching = { queue, ends };
    this.host.environment.timers.clear(this.#watchTimer);
    void this.#watch(queue, ends.signal).finally(() => {
      if (this.#watching?.queue === queue) this.#watching = undefined;
    });
  }

  async #watch(queue: Queue, signal: AbortSignal): Promise<void> {
    const { host } = this;
    for (let ids = host.wanted().watch; !sameIds(queue.watched, ids); ids = host.wanted().watch) {
      try {
        const { communities, last_event_id = 0 } = await queue.watch(ids, signal);
        if (queue !== this.#queue) return;
        // Of what is older than the answer or than the log, the next polls bring nothing.
        host.covers(communities, Math.max(last_event_id, host.log.head ?? queue.registration.last_event_id));
        // The parked poll may not know of them.
        this.interrupt();
      } catch (error) {
        if (signal.aborted) return;
        // An older server cannot watch, and what it refuses it would refuse again.
        if (!isTransient(error)) queue.watched = ids;
        else this.#watchTimer = host.environment.timers.set(() => this.watchChanged(), WATCH_RETRY_MS);
        return;
      }
    }
  }

  /** Ends the parked poll and tries again, because the network or what is watched has changed. */
  interrupt(): void {
    this.#poll?.abort(new Interrupted());
  }

  #registration() {
    if (!this.#queue) throw new Error("there is no queue in this state");
    return this.#queue.registration;
  }

  async #register(signal: AbortSignal): Promise<void> {
    this.#dropQueue();
    const { config, user } = this.host;
    const queue = await this.#limited(REGISTER_LIMIT_MS, signal, (limited) =>
      Queue.open(config, user, this.host.wanted(), limited.signal),
    );
    this.#queue = queue;
    this.#contact();
    this.host.covers(queue.registration.communities, queue.registration.last_event_id);
    // The tabs may want something else by now.
    this.watchChanged();
  }

  #dropQueue(): void {
    this.#queue?.close();
    this.#queue = undefined;
    this.#watching?.ends.abort();
    this.#watching = undefined;
    this.host.environment.timers.clear(this.#watchTimer);
  }

  async #pollOnce(seconds: number, signal: AbortSignal): Promise<LeaderState> {
    const host = this.host;
    const { timers } = host.environment;
    const queue = this.#queue;
    if (!queue) return "register";
    const cursor = host.log.head ?? queue.registration.last_event_id;
    const startedAt = timers.now();
    const answer = await this.#limited(seconds * 1000 + POLL_GRACE_MS, signal, async (poll) => {
      this.#poll = poll;
      try {
        return await queue.poll(cursor, seconds, poll.signal);
      } finally {
        this.#poll = undefined;
      }
    });
    if (answer.kind === "gone") {
      this.#queue = undefined;
      this.#dropQueue();
      if (!host.isActive()) return "absent";
      return this.#again("register");
    }
    if (answer.kind === "catchup") return this.#again("catch_up");
    this.#contact();
    this.#failedPolls.register = this.#failedPolls.catch_up = 0;
    void host.publish({ from: cursor, events: answer.events, head: answer.head });
    if (host.status().state !== "catching_up") host.setStatus({ state: "live" });
    if (seconds > 0 && answer.events.length === 0 && timers.now() - startedAt < EARLY_ANSWER_MS)
      return this.#wait("poll");
    this.#backoff.reset();
    return "poll";
  }

  /** The first time the state follows at once. As long as that does not help, a wait comes before it. */
  #again(state: "register" | "catch_up"): LeaderState {
    if (this.#failedPolls[state]++ === 0) return state;
    this.#setSilent(undefined);
    return this.#wait(state);
  }

  #wait(state: LeaderState, ms = 0): LeaderState {
    this.#after = { state, ms };
    return "wait";
  }

  #failed(error: unknown): LeaderState {
    const code = isApiError(error) ? error.code : undefined;
    if (error instanceof ApiError && error.status === 401) {
      this.host.setStatus({ state: "signed_out", ...(code ? { code } : {}) });
      return "signed_out";
    }
    const next = this.#queue ? "probe" : "register";
    if (error instanceof Interrupted && this.host.environment.page.isOnline()) return next;
    this.#setSilent(code);
    if (error instanceof ApiError && !isTransient(error)) {
      this.#dropQueue();
      return "refused";
    }
    return this.#wait(next, error instanceof ApiError ? error.retryAfterMs : 0);
  }

  /** Waits, and says in the status until when. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    this.#announce(this.host.environment.timers.now() + ms);
    await this.#sleep.sleep(ms, signal);
    this.#announce(undefined);
  }

  #announce(retryAt: number | undefined): void {
    const status = this.host.status();
    if (status.state !== "stale" && status.state !== "offline") return;
    const { retryAt: _, ...silent } = status;
    this.host.setStatus(retryAt === undefined ? silent : { ...silent, retryAt });
  }

  #contact(): void {
    this.#lastContact = this.host.environment.timers.now();
  }

  #setSilent(code: ErrorCode | undefined): void {
    const since = this.#lastContact;
    if (!this.host.environment.page.isOnline()) this.host.setStatus({ state: "offline", since });
    else this.host.setStatus({ state: "stale", since, ...(code ? { code } : {}) });
  }

  /** Runs a call, and aborts it with the signal or after `ms`. */
  async #limited<T>(ms: number, signal: AbortSignal, call: (controller: AbortController) => Promise<T>): Promise<T> {
    const { timers } = this.host.environment;
    const controller = new AbortController();
    const timer = timers.set(() => controller.abort(new TypeError("the server did not answer")), ms);
    const onAbort = () => controller.abort(signal.reason);
    signal.addEventListener("abort", onAbort);
    try {
      return await call(controller);
    } catch (error) {
      throw controller.signal.aborted ? controller.signal.reason : error;
    } finally {
      timers.clear(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Sends heartbeats while a person is active. It ignores errors: the poll notices if the queue is gone. */
  #heartbeats(signal: AbortSignal): () => void {
    const { random, timers } = this.host.environment;
    let handle: unknown;
    const schedule = () => {
      const every = this.host.heartbeatMs ?? (this.#queue?.registration.heartbeat_interval_seconds ?? 60) * 1000;
      handle = timers.set(
        () => {
          if (this.host.isActive()) this.#queue?.heartbeat(signal).catch(() => undefined);
          schedule();
        },
        every * (0.9 + 0.1 * random()),
      );
    };
    schedule();
    return () => timers.clear(handle);
  }
}

function sameIds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, at) => id === b[at]);
}

/** The reason of a poll that `interrupt` ended. */
class Interrupted extends Error {}

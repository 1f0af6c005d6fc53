import type { ApiConfig } from "../api/config.js";
import { ApiError, isApiError, isTransient } from "../api/error.js";
import type { ErrorCode, Event } from "../generated/api.js";
import { AbortableSleep, Backoff, type BackoffOptions } from "./backoff.js";
import type { Environment } from "./environment.js";
import type { EventLog } from "./log.js";
import { Queue } from "./queue.js";
import type { RealtimeStatus } from "./status.js";

/** A poll is given up this long after the server should have answered: the connection is dead. */
const POLL_GRACE_MS = 10_000;
/** A registration that takes longer is given up: a server, a proxy or a token function hangs. */
const REGISTER_LIMIT_MS = 30_000;
/** An empty answer sooner than this is a server on its way down. */
const HURRIED_MS = 1_000;
/** The wait after a refusal that will hardly change, such as that of a user of no community. */
const REFUSED_MS = 300_000;

/** What continues the log at `from`. `reset`: nothing that was fetched before can be brought up to date. */
export interface LogAnswer {
  from: number;
  events: Event[];
  head: number;
  reset?: boolean;
}

/** What a leader needs of its tab. */
export interface LeaderHost {
  readonly config: ApiConfig;
  readonly user: string | number;
  readonly environment: Environment;
  readonly log: EventLog;
  readonly backoff: BackoffOptions | undefined;
  readonly heartbeatMs: number | undefined;
  /** The oldest snapshot that is cached. */
  initialCursor(): number | undefined;
  /** Whether a person is using some tab. */
  isActive(): boolean;
  /** Tells all tabs; settles when this one has it. */
  publish(answer: LogAnswer): Promise<void>;
  status(): RealtimeStatus;
  setStatus(status: RealtimeStatus): void;
}

/**
 * What the leader is about to do, and what comes after it:
 *
 * | state | does | then |
 * | --- | --- | --- |
 * | `register` | registers a queue | `probe` |
 * | `probe` | polls with time-out 0, to learn whether the server is there | as `poll` |
 * | `poll` | polls | `poll`; gone: `register`, `wait` if gone again, `absent` if nobody is there; too much missed: `catch_up` |
 * | `catch_up` | registers anew, and has everything fetched anew from that head on | `probe` |
 * | `wait` | waits, longer after each failure | what it was to do |
 * | `refused` | waits long: trying again hardly helps | `register` |
 * | `absent` | waits for a person | `register` |
 * | `signed_out` | ends | |
 *
 * Any state: 401 `signed_out`, another refusal `refused`, any other error `wait`, then `register` or `probe`.
 */
export type LeaderState = "register" | "probe" | "poll" | "catch_up" | "wait" | "refused" | "absent" | "signed_out";

type Step = (signal: AbortSignal) => Promise<LeaderState>;

export class Leader {
  readonly #sleep: AbortableSleep;
  readonly #backoff: Backoff;
  #state: LeaderState = "register";
  /** What `wait` leads to, and how long it is at least. */
  #after: { state: LeaderState; ms: number } = { state: "register", ms: 0 };
  #queue: Queue | undefined;
  #poll: AbortController | undefined;
  /** How often the queue was gone and how often too much was missed, with no good answer between. */
  readonly #failedPolls = { register: 0, catch_up: 0 };
  #lastContact: number;

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
      // The head is read before anything is fetched anew: every fresh snapshot is at it or newer, in every tab.
      await this.#register(signal);
      const head = this.#registration().last_event_id;
      void this.host.publish({ from: head, events: [], head, reset: true }).then(() => {
        if (!signal.aborted && this.host.status().state === "catching_up") this.host.setStatus({ state: "live" });
      });
      return "probe";
    },
    wait: async (signal) => {
      await this.#sleep.sleep(this.#backoff.next(this.#after.ms), signal);
      return this.#after.state;
    },
    refused: async (signal) => {
      await this.#sleep.sleep(REFUSED_MS * (1 + this.host.environment.random()), signal);
      return "register";
    },
    absent: async (signal) => {
      this.#setSilent(undefined);
      await this.#sleep.sleep(undefined, signal);
      return "register";
    },
  };

  /** Leads until the signal ends it or the server refuses the token. */
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

  /** Something happened that may make the next try succeed. Use alone does not change a refusal. */
  wake(reason: "used" | "network" | "asked" | "present"): void {
    if (this.#state === "refused" && reason === "used") return;
    if (this.#state !== "absent" && reason === "present") return;
    this.#sleep.wake();
  }

  /** Ends the poll that is parked, to try again: the network is another one. */
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
    this.#queue = await this.#limited(REGISTER_LIMIT_MS, signal, (limited) => Queue.open(config, user, limited.signal));
    this.#contact();
  }

  #dropQueue(): void {
    this.#queue?.close();
    this.#queue = undefined;
  }

  async #pollOnce(seconds: number, signal: AbortSignal): Promise<LeaderState> {
    const host = this.host;
    const { timers } = host.environment;
    const queue = this.#queue;
    if (!queue) return "register";
    const cursor = host.log.head ?? queue.registration.last_event_id;
    const begun = timers.now();
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
      if (!host.isActive()) return "absent";
      return this.#again("register");
    }
    if (answer.kind === "catchup") return this.#again("catch_up");
    this.#contact();
    this.#failedPolls.register = this.#failedPolls.catch_up = 0;
    void host.publish({ from: cursor, events: answer.events, head: answer.head });
    if (host.status().state !== "catching_up") host.setStatus({ state: "live" });
    if (seconds > 0 && answer.events.length === 0 && timers.now() - begun < HURRIED_MS) return this.#wait("poll");
    this.#backoff.reset();
    return "poll";
  }

  /** At once the first time; with a wait before it as long as it does not help. */
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

  #contact(): void {
    this.#lastContact = this.host.environment.timers.now();
  }

  #setSilent(code: ErrorCode | undefined): void {
    const since = this.#lastContact;
    if (!this.host.environment.page.isOnline()) this.host.setStatus({ state: "offline", since });
    else this.host.setStatus({ state: "stale", since, ...(code ? { code } : {}) });
  }

  /** Runs a call that ends with the signal, or after some time. */
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

  /** Sends heartbeats while a person is there. A queue that is gone is the poll's to notice. */
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

/** The poll was ended by this side, to try again. */
class Interrupted extends Error {}

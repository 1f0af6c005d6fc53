import type { QueryClient } from "@tanstack/react-query";
import type { ApiConfig, TokenRequest, TokenSource } from "../api/config.js";
import { isApiError, isTransient } from "../api/error.js";
import { Listeners } from "../callbacks.js";
import type { Event } from "../generated/api.js";
import { RealtimeClient, type LogChange, type RealtimeOptions } from "../live/realtime-client.js";
import { isReadByAll } from "../reducers/visibility.js";
import { defaultEnvironment, systemTimers, type Timers } from "../live/environment.js";
import { EventLog } from "../live/log.js";
import type { RealtimeStatus } from "../live/status.js";
import { keys, normalUser, type User } from "./keys.js";
import type { StableKeys } from "./overlay.js";
import { Drafts } from "./drafts.js";
import { Outbox } from "./outbox.js";
import { Pending } from "./pending.js";
import { ReadMarks } from "./read-marks.js";
import { ReadTracker } from "./read-tracker.js";
import { pageStorage, type KeptStorage } from "./storage.js";
import { Store } from "./store.js";
import { isShownToStranger } from "./cached.js";
import { CacheSync } from "./sync.js";

async function tokenOf(source: TokenSource | undefined, request: TokenRequest): Promise<string | null> {
  return typeof source === "function" ? await source(request) : (source ?? null);
}

/** By query cache and user: the last event that the application's listeners heard of. */
const lastTold = new WeakMap<QueryClient, Map<User, number>>();

function lastToldOf(queryClient: QueryClient): Map<User, number> {
  let ofUsers = lastTold.get(queryClient);
  if (!ofUsers) lastTold.set(queryClient, (ofUsers = new Map<User, number>()));
  return ofUsers;
}

/** Runs a function and returns what it returns. */
type Batch = <T>(change: () => T) => T;

/** Whether a fetch that failed may succeed now that the server answers again. After a limit, the wait goes on. */
function mayPass(error: Error): boolean {
  return isTransient(error) && !isApiError(error, "rate_limited");
}

/** `removed`: the user left the community, or was removed. `closed`: they were no member, and it is no longer public. */
export interface Loss {
  since: string;
  reason: "removed" | "closed";
}

export interface LiveConnectionOptions extends Omit<RealtimeOptions, "config" | "user" | "initialCursor"> {
  /** Where drafts and unsent new items are stored. Default: the page's `localStorage`. Null keeps them in memory only. */
  storage?: KeptStorage | null;
}

/**
 * Connects a query cache to one user's events. `RealtimeProvider` holds one.
 *
 * A connection makes all its calls as its own user. Another user gets another connection, with its own configuration.
 */
export class LiveConnection {
  readonly user: User;
  /** Follows what `configure` sets. The object and its token function stay the same, so that calls share one refresh of a token. */
  readonly config: ApiConfig;
  readonly pending = new Pending();
  readonly outbox: Outbox;
  readonly drafts: Drafts;
  readonly readMarks: ReadMarks;
  readonly readTracker: ReadTracker;
  readonly stableKeys: StableKeys = new Map();
  readonly status: Store<RealtimeStatus>;
  /** Communities that the user may not read any more, since when, and why. */
  readonly lost = new Store<ReadonlyMap<number, Loss>>(new Map());
  /** Communities whose events come, also of those in which the user is no member. */
  readonly communities = new Store<ReadonlySet<number>>(new Set());
  /** Whether this tab polls for all tabs of the browser. */
  readonly isLeader = new Store(false);
  readonly timers: Timers;
  readonly #listeners = new Listeners<Event>();
  readonly #errors = new Listeners<Error>();
  readonly #onError = (error: Error) => void this.#errors.call(error);
  #latest: ApiConfig;
  #client: RealtimeClient | undefined;
  #sync: CacheSync | undefined;
  /** By community: how many hooks watch it. */
  readonly #watchers = new Map<number, number>();
  #isWatchOpen = false;
  /** The token that the last call used. */
  #lastToken: string | null = null;

  constructor(
    readonly queryClient: QueryClient,
    user: User,
    config: ApiConfig,
    private readonly options: LiveConnectionOptions = {},
    /** Runs changes of the cache as one, so that the page renders them at once (`notifyManager.batch`). */
    private readonly batch: Batch = (change) => change(),
  ) {
    this.user = normalUser(user);
    this.#latest = config;
    this.config = this.#following();
    this.status = new Store<RealtimeStatus>({ state: user === null ? "signed_out" : "connecting" });
    const storage = options.storage === undefined ? pageStorage() : (options.storage ?? undefined);
    const timers = (this.timers = options.environment?.timers ?? systemTimers);
    const { pending, status } = this;
    const drafts = (this.drafts = new Drafts(this.user, storage));
    const events = () => {
      const log = this.#client?.log;
      return log?.since(log.start ?? 0) ?? [];
    };
    const head = () => this.#client?.log.head ?? 0;
    const shared = { config: this.config, user: this.user, queryClient, status, pending, drafts, storage };
    this.outbox = new Outbox({ ...shared, events, head, onError: this.#onError, timers });
    const page = options.environment?.page ?? defaultEnvironment().page;
    this.readMarks = new ReadMarks({ ...shared, timers, page, onError: this.#onError });
    this.readTracker = new ReadTracker(this.readMarks, timers, page);
  }

  /** Changes the configuration of the same user. After `signed_out` a new token makes the connection try again. */
  configure(config: ApiConfig): void {
    const before = this.#latest.token;
    this.#latest = config;
    if (config.token !== before && this.status.get().state === "signed_out") void this.#tryToken(config.token);
  }

  /** Connects. The returned function disconnects and cleans up. */
  start(): () => void {
    const { queryClient, user } = this;
    if (user === null) {
      // Nothing is live, but CacheSync still removes pages that were made for another user.
      const sync = new CacheSync(queryClient, user, new EventLog(), this.#onError);
      return () => sync.close();
    }
    const initialCursor = () => CacheSync.oldestCursor(queryClient, user);
    const watch = this.#watched();
    const client = new RealtimeClient({ ...this.options, config: this.config, user, initialCursor, watch });
    const sync = new CacheSync(queryClient, user, client.log, this.#onError, this.timers);
    this.#client = client;
    this.#sync = sync;
    client.onStatus((status) => {
      this.status.set(status);
      if (status.state === "live") void sync.refetchFailed(mayPass);
    });
    client.onLeader((isLeader) => this.isLeader.set(isLeader));
    client.onCoverage(({ communities, since }) => {
      const covered = new Set(communities);
      this.communities.set(covered);
      sync.cover(covered, since);
    });
    client.onChange((change) => this.batch(() => this.#onChange(change, sync)));
    client.start();
    const stopOutbox = this.outbox.start();
    const stopDrafts = this.drafts.start();
    const stopMarks = this.readMarks.start();
    const stopTracker = this.readTracker.start();
    return () => {
      stopTracker();
      stopMarks();
      stopOutbox();
      stopDrafts();
      client.close();
      this.isLeader.set(false);
      this.communities.set(new Set());
      sync.close();
      this.#client = undefined;
      this.#sync = undefined;
    };
  }

  /** Watches communities until the returned function is called. */
  watch(ids: readonly number[]): () => void {
    const count = (by: 1 | -1) => {
      for (const id of ids) this.#watchers.set(id, (this.#watchers.get(id) ?? 0) + by);
      if (this.#isWatchOpen) return;
      this.#isWatchOpen = true;
      // One hook may end and another begin at the same time.
      queueMicrotask(() => {
        this.#isWatchOpen = false;
        this.#client?.watch(this.#watched());
      });
    };
    count(1);
    return () => count(-1);
  }

  #watched(): number[] {
    const open = [...this.#watchers].filter(([, hooks]) => hooks > 0).map(([id]) => id);
    return [...(this.options.watch ?? []), ...open];
  }

  /** Whether all events about this article come, and not only those of `only`. */
  getsAllOf(articleId: number | undefined): boolean {
    const { only } = this.options;
    if (!only) return true;
    if (only.followed || only.types) return false;
    return !only.article_ids || (articleId !== undefined && only.article_ids.includes(articleId));
  }

  /** Connects at once, also after `signed_out`, and repeats failed fetches. */
  reconnect(): void {
    this.#client?.reconnect();
    void this.#sync?.refetchFailed();
  }

  /** Removes this user's data from the cache before the next user's page. */
  forget(): void {
    this.queryClient.removeQueries({ queryKey: keys.all(this.user) });
  }

  onEvent(listener: (event: Event) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Calls `listener` when a fetch fails for good and when the server refuses a write. */
  onError(listener: (error: Error) => void): () => void {
    return this.#errors.add(listener);
  }

  #onChange(change: LogChange, sync: CacheSync): void | Promise<void> {
    // Before the fold, which leaves nothing of it.
    const closed = change.events.filter(
      (event) =>
        event.type === "community_changed" &&
        !isReadByAll(event.kind) &&
        isShownToStranger(this.queryClient, this.user, event.community_id),
    );
    this.readTracker.around(change.events, () => sync.syncAll());
    this.readMarks.fold(change.events);
    this.pending.fold(change.events);
    // The missed events may have brought memberships back. Everything is fetched again, and the server refuses what is still lost.
    if (change.reset && this.lost.get().size > 0) this.lost.set(new Map());
    const isNews = this.#noteLosses(change.events, closed, sync);
    this.#tell(change);
    if (!change.reset && !isNews) return;
    const outdated = change.reset ? this.pending.snapshot().filter(({ state }) => state === "confirmed") : [];
    return sync.refetchAll().then(() => {
      this.pending.remove(...outdated.map(({ key }) => key));
      if (change.reset) this.readMarks.forgetConfirmed();
    });
  }

  /** Records what the user may not read any more. Returns whether they may see other things now, so that all is fetched again. */
  #noteLosses(events: readonly Event[], closed: readonly Event[], sync: CacheSync): boolean {
    const lost = new Map(this.lost.get());
    const communities = new Set(this.communities.get());
    let isNews = false;
    let isOpened = false;
    for (const event of events) {
      if (event.type === "membership_changed") {
        isNews = true;
        if (event.role === null) lost.set(event.community_id, { since: event.timestamp, reason: "removed" });
        else lost.delete(event.community_id);
      } else if (event.type === "community_changed" && isReadByAll(event.kind)) {
        // The server keeps what is watched, so the events come again.
        const { community_id, event_id } = event;
        isOpened ||= !isReadByAll(event.previous_kind);
        if (lost.get(community_id)?.reason === "closed") isNews = lost.delete(community_id);
        if (!communities.has(community_id)) sync.cover(communities.add(community_id), event_id);
      } else if (event.type === "community_changed" && closed.includes(event)) {
        isNews = true;
        lost.set(event.community_id, { since: event.timestamp, reason: "closed" });
        communities.delete(event.community_id);
      }
    }
    if (isNews) this.lost.set(lost);
    if (communities.size !== this.communities.get().size) this.communities.set(communities);
    // What was refused until now may be read.
    if (isOpened && !isNews) void sync.refetchFailed();
    return isNews;
  }

  /** Tells the listeners of each event once, also if a new connection reads events again that an earlier one of this page had. */
  #tell({ events, reset }: LogChange): void {
    const told = lastToldOf(this.queryClient);
    if (reset) told.delete(this.user);
    const before = told.get(this.user) ?? 0;
    const last = events[events.length - 1];
    if (last) told.set(this.user, Math.max(before, last.event_id));
    for (const event of events) if (event.event_id > before) this.#listeners.call(event);
  }

  #following(): ApiConfig {
    const latest = () => this.#latest;
    // A reader who is not signed in sends neither cookie nor token, even if the browser has one.
    if (this.user === null) {
      return {
        token: null,
        credentials: "omit",
        get baseUrl() {
          return latest().baseUrl ?? "";
        },
        get timeoutMs() {
          return latest().timeoutMs;
        },
        get fetch() {
          return latest().fetch ?? fetch;
        },
      };
    }
    return {
      // A function even if the token is a plain string. It records the token that was used, and it gives a changed string as a new token.
      token: async (request: TokenRequest) => (this.#lastToken = await tokenOf(latest().token, request)),
      get baseUrl() {
        return latest().baseUrl ?? "";
      },
      get credentials() {
        return latest().credentials ?? "same-origin";
      },
      get timeoutMs() {
        return latest().timeoutMs;
      },
      get headers() {
        return latest().headers ?? {};
      },
      get fetch() {
        return latest().fetch ?? fetch;
      },
    };
  }

  /** Reconnects if `source` gives another token than the refused one. A new function alone says nothing: an inline function is new at each render. */
  async #tryToken(source: TokenSource | undefined): Promise<void> {
    const refused = this.#lastToken;
    const token = await tokenOf(source, { refresh: false }).catch(() => null);
    if (token !== null && token !== refused && source === this.#latest.token) this.reconnect();
  }
}

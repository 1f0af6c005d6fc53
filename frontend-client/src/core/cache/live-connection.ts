import type { QueryClient } from "@tanstack/react-query";
import type { ApiConfig, TokenRequest, TokenSource } from "../api/config.js";
import { callEach } from "../callbacks.js";
import type { Event } from "../generated/api.js";
import { RealtimeClient, type LogChange, type RealtimeOptions } from "../live/realtime-client.js";
import { EventLog } from "../live/log.js";
import type { RealtimeStatus } from "../live/status.js";
import { keys, normalUser, type User } from "./keys.js";
import type { StableKeys } from "./overlay.js";
import { Drafts } from "./drafts.js";
import { Outbox } from "./outbox.js";
import { Pending } from "./pending.js";
import { pageStorage, type KeptStorage } from "./storage.js";
import { Store } from "./store.js";
import { CacheSync } from "./sync.js";

async function tokenOf(source: TokenSource | undefined, request: TokenRequest): Promise<string | null> {
  return typeof source === "function" ? await source(request) : (source ?? null);
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
  readonly stableKeys: StableKeys = new Map();
  readonly status: Store<RealtimeStatus>;
  /** Communities that the user left or was removed from while this page was open, and when. */
  readonly lost = new Store<ReadonlyMap<number, string>>(new Map());
  readonly #listeners = new Set<(event: Event) => void>();
  #latest: ApiConfig;
  #client: RealtimeClient | undefined;
  #sync: CacheSync | undefined;
  /** The token that the last call used. */
  #lastToken: string | null = null;

  constructor(
    readonly queryClient: QueryClient,
    user: User,
    config: ApiConfig,
    private readonly options: LiveConnectionOptions = {},
  ) {
    this.user = normalUser(user);
    this.#latest = config;
    this.config = this.#following();
    this.status = new Store<RealtimeStatus>({ state: user === null ? "signed_out" : "connecting" });
    const storage = options.storage === undefined ? pageStorage() : (options.storage ?? undefined);
    const timers = options.environment?.timers;
    const { pending, status } = this;
    this.drafts = new Drafts(this.user, storage);
    this.outbox = new Outbox({ config: this.config, user: this.user, queryClient, status, pending, storage, timers });
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
      const sync = new CacheSync(queryClient, user, new EventLog());
      return () => sync.close();
    }
    const initialCursor = () => CacheSync.oldestCursor(queryClient, user);
    const client = new RealtimeClient({ ...this.options, config: this.config, user, initialCursor });
    const sync = new CacheSync(queryClient, user, client.log);
    this.#client = client;
    this.#sync = sync;
    client.onStatus((status) => this.status.set(status));
    client.onChange((change) => this.#onChange(change, sync));
    client.start();
    const stopOutbox = this.outbox.start();
    const stopDrafts = this.drafts.start();
    return () => {
      stopOutbox();
      stopDrafts();
      client.close();
      sync.close();
      this.#client = undefined;
      this.#sync = undefined;
    };
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
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #onChange(change: LogChange, sync: CacheSync): void | Promise<void> {
    sync.syncAll();
    // The missed events may have brought memberships back. Everything is fetched again, and the server refuses what is still lost.
    if (change.reset && this.lost.get().size > 0) this.lost.set(new Map());
    const memberships = change.events.filter((event) => event.type === "membership_changed");
    if (memberships.length > 0) {
      const lost = new Map(this.lost.get());
      for (const event of memberships) {
        if (event.role === null) lost.set(event.community_id, event.timestamp);
        else lost.delete(event.community_id);
      }
      this.lost.set(lost);
    }
    for (const event of change.events) callEach(this.#listeners, event);
    // With another membership the user may see other things, so fetch everything again.
    if (change.reset || memberships.length > 0) return sync.refetchAll();
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

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
  /** Where drafts and unsent things are kept. Default: the page's `localStorage`; null keeps them in memory alone. */
  storage?: KeptStorage | null;
}

/**
 * One user's live connection to a query cache: what `RealtimeProvider` holds.
 *
 * A connection asks as its own user and nobody else: another user gets another connection, with a config of its own.
 */
export class LiveConnection {
  readonly user: User;
  /** Follows what `configure` is given. Its parts keep their identity, so that calls share one refresh of a token. */
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
  /** The last token that a call was given. */
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

  /** The same user asks in another way from now on. A new token is a reason to try again after `signed_out`. */
  configure(config: ApiConfig): void {
    const before = this.#latest.token;
    this.#latest = config;
    if (config.token !== before && this.status.get().state === "signed_out") void this.#tryToken(config.token);
  }

  /** Connects; the returned function disconnects and leaves nothing behind. */
  start(): () => void {
    const { queryClient, user } = this;
    if (user === null) {
      // Nothing is live, but nobody else's pages are shown either.
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

  /** Tries at once, also after `signed_out`; and fetches again what could not be fetched. */
  reconnect(): void {
    this.#client?.reconnect();
    void this.#sync?.refetchFailed();
  }

  /** Forgets what this user saw, for the next one. */
  forget(): void {
    this.queryClient.removeQueries({ queryKey: keys.all(this.user) });
  }

  onEvent(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #onChange(change: LogChange, sync: CacheSync): void | Promise<void> {
    sync.syncAll();
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
    // Another membership shows other things: the server knows which.
    if (change.reset || memberships.length > 0) return sync.refetchAll();
  }

  #following(): ApiConfig {
    const latest = () => this.#latest;
    // A reader who is not signed in sends nothing that says otherwise, whatever cookie or token there is.
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
      // A function even for a plain string: what was last sent is known, and a string that changed is a new token.
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

  /** Reconnects if the source has another token than the one that was refused: an inline function is new at each render. */
  async #tryToken(source: TokenSource | undefined): Promise<void> {
    const refused = this.#lastToken;
    const token = await tokenOf(source, { refresh: false }).catch(() => null);
    if (token !== null && token !== refused && source === this.#latest.token) this.reconnect();
  }
}

import type { QueryClient } from "@tanstack/react-query";
import type { ApiConfig } from "../api/config.js";
import type { Event } from "../generated/api.js";
import { RealtimeClient, type LogChange, type RealtimeOptions } from "../realtime/client.js";
import type { RealtimeStatus } from "../realtime/status.js";
import { keys, type User } from "./keys.js";
import type { StableKeys } from "./overlay.js";
import { Pending } from "./pending.js";
import { Store } from "./store.js";
import { CacheSync } from "./sync.js";

export type SessionOptions = Omit<RealtimeOptions, "config" | "user" | "initialCursor">;

/** One user's live connection to a query cache: what `RealtimeProvider` holds. */
export class Session {
  readonly pending = new Pending();
  readonly stableKeys: StableKeys = new Map();
  readonly status: Store<RealtimeStatus>;
  /** Communities that the user left or was removed from while this page was open, and when. */
  readonly lost = new Store<ReadonlyMap<number, string>>(new Map());
  readonly #listeners = new Set<(event: Event) => void>();

  constructor(
    readonly queryClient: QueryClient,
    readonly user: User,
    readonly config: ApiConfig,
    private readonly options: SessionOptions,
  ) {
    this.status = new Store<RealtimeStatus>({ state: user === null ? "signed_out" : "connecting" });
  }

  /** Connects; the returned function disconnects and leaves nothing behind. */
  start(): () => void {
    if (this.user === null) return () => undefined;
    const { queryClient, user } = this;
    const initialCursor = () => CacheSync.oldestCursor(queryClient, user);
    const client = new RealtimeClient({ ...this.options, config: this.config, user, initialCursor });
    const sync = new CacheSync(queryClient, user, client.log);
    client.onStatus((status) => this.status.set(status));
    client.onChange((change) => this.#onChange(change, sync));
    client.start();
    return () => {
      client.close();
      sync.close();
    };
  }

  /** Forgets what this user saw, for the next one. */
  forget(): void {
    this.queryClient.removeQueries({ queryKey: keys.all(this.user) });
  }

  onEvent(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
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
    for (const event of change.events) for (const listener of [...this.#listeners]) listener(event);
    // Another membership shows other things: the server knows which.
    if (change.reset || memberships.length > 0) return sync.refetchAll();
  }
}

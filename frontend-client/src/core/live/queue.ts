import type { ApiConfig } from "../api/config.js";
import { isApiError, WrongViewerError } from "../api/error.js";
import { callOptions } from "../api/request.js";
import {
  closeQueueByBeacon,
  getSession,
  heartbeat,
  poll,
  register,
  watchCommunities,
  type Event,
  type Registration,
} from "../generated/api.js";
import type { Only } from "../wire.js";

export type Answer = { kind: "events"; events: Event[]; head: number } | { kind: "catchup" } | { kind: "gone" };

/** What a queue is to get. */
export interface Wanted {
  only?: Only | undefined;
  /** Communities in which the user is no member. */
  watch: readonly number[];
}

/** The communities whose events the queue gets, and where the events of those begin that it gets only now. */
export interface Watched {
  communities: readonly number[];
  /** Absent in answers of older servers. */
  last_event_id?: number | undefined;
}

/** One registration for events at the server. */
export class Queue {
  private constructor(
    private readonly config: ApiConfig,
    readonly registration: Registration,
    /** The communities that the server was asked to watch last. */
    public watched: readonly number[],
  ) {}

  /** Registers, and checks that the queue belongs to `user`: nobody's events may reach another user's page. */
  static async open(
    config: ApiConfig,
    user: string | number,
    { only, watch }: Wanted,
    signal: AbortSignal,
  ): Promise<Queue> {
    const options = callOptions(config, { signal });
    const wanted = { ...(only && { only }), ...(watch.length > 0 && { watch: [...watch] }) };
    const queue = new Queue(config, await register(wanted, options), watch);
    if (typeof user !== "number") return queue;
    try {
      const { user: owner } = await getSession(options);
      if (owner.id === user) return queue;
      throw new WrongViewerError(user, owner.id);
    } catch (error) {
      queue.close();
      throw error;
    }
  }

  /** With `timeoutSeconds` 0 the server answers at once. */
  async poll(cursor: number, timeoutSeconds: number, signal: AbortSignal): Promise<Answer> {
    const query = { queue_id: this.registration.queue_id, last_event_id: cursor, timeout: timeoutSeconds };
    try {
      const answer = await poll(query, callOptions({ ...this.config, timeoutMs: undefined }, { signal }));
      if (!("events" in answer)) return { kind: "catchup" };
      return { kind: "events", events: answer.events, head: answer.last_event_id };
    } catch (error) {
      if (isApiError(error, "queue_not_found")) return { kind: "gone" };
      throw error;
    }
  }

  /** Watches these communities, and no others. */
  async watch(ids: readonly number[], signal: AbortSignal): Promise<Watched> {
    const { queue_id } = this.registration;
    const options = callOptions(this.config, { signal });
    const watched: Watched = await watchCommunities(queue_id, { community_ids: [...ids] }, options);
    this.watched = ids;
    return watched;
  }

  async heartbeat(signal: AbortSignal): Promise<void> {
    await heartbeat({ queue_id: this.registration.queue_id }, callOptions(this.config, { signal }));
  }

  /** The request outlives the page (`keepalive`). Errors are ignored: without heartbeats the queue ends by itself. */
  close(): void {
    const id = this.registration.queue_id;
    closeQueueByBeacon(id, callOptions(this.config, { keepalive: true })).catch(() => undefined);
  }
}

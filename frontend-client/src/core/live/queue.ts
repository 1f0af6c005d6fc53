import type { ApiConfig } from "../api/config.js";
import { isApiError, WrongViewerError } from "../api/error.js";
import { callOptions } from "../api/request.js";
import {
  closeQueueByBeacon,
  getSession,
  heartbeat,
  poll,
  register,
  type Event,
  type Registration,
} from "../generated/api.js";

/** What one poll brought. */
export type Answer = { kind: "events"; events: Event[]; head: number } | { kind: "catchup" } | { kind: "gone" };

/** One registration for events at the server. */
export class Queue {
  private constructor(
    private readonly config: ApiConfig,
    readonly registration: Registration,
  ) {}

  /** Registers, and makes sure that the queue is this user's: their events must not reach the page of another. */
  static async open(config: ApiConfig, user: string | number, signal: AbortSignal): Promise<Queue> {
    const options = callOptions(config, { signal });
    const queue = new Queue(config, await register(options));
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

  /** `timeoutSeconds` 0 answers at once. */
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

  async heartbeat(signal: AbortSignal): Promise<void> {
    await heartbeat({ queue_id: this.registration.queue_id }, callOptions(this.config, { signal }));
  }

  /** Outlives the page (`keepalive`). Best effort: an unclosed queue ends by itself without heartbeats. */
  close(): void {
    const id = this.registration.queue_id;
    closeQueueByBeacon(id, callOptions(this.config, { keepalive: true })).catch(() => undefined);
  }
}

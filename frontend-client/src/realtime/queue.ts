import type { ApiConfig } from "../api/config.js";
import { isApiError } from "../api/error.js";
import { callOptions } from "../api/request.js";
import { closeQueueByBeacon, heartbeat, poll, register, type Event, type Registration } from "../generated/api.js";

/** What one poll brought. */
export type Answer = { kind: "events"; events: Event[]; head: number } | { kind: "catchup" } | { kind: "gone" };

/** One registration for events at the server. */
export class Queue {
  private constructor(
    private readonly config: ApiConfig,
    readonly registration: Registration,
  ) {}

  static async open(config: ApiConfig, signal: AbortSignal): Promise<Queue> {
    return new Queue(config, await register(callOptions(config, { signal })));
  }

  /** `timeoutSeconds` 0 answers at once. */
  async poll(cursor: number, timeoutSeconds: number, signal: AbortSignal): Promise<Answer> {
    const query = { queue_id: this.registration.queue_id, last_event_id: cursor, timeout: timeoutSeconds };
    try {
      const answer = await poll(query, callOptions(this.config, { signal }));
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

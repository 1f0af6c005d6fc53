import type { Event } from "../generated/api.js";
import type { Channel } from "./environment.js";
import type { RealtimeStatus } from "./status.js";

/**
 * The version of the messages. The names of the channel and of the lock contain it, so tabs with another version of the
 * messages have their own leader.
 */
export const TAB_PROTOCOL = 2;

/** The messages between the tabs of one user. Only the leader sends `answer`, `status` and `beat`. No tab forwards a message. */
export type TabMessage =
  /** Events that continue a log at `from`. `reset`: everything cached before `from` may be wrong. `to`: for this tab only. */
  | { kind: "answer"; from: number; events: Event[]; head: number; reset?: boolean; to?: string }
  | { kind: "status"; status: RealtimeStatus }
  /** The leader's sign of life. Visible tabs answer with `present`. */
  | { kind: "beat" }
  /** A new tab, with snapshots that are current up to `since`. */
  | { kind: "hello"; tab: string; since: number | null }
  /** A person is using some tab. */
  | { kind: "active" }
  /** A tab is visible. A person may be reading it without a click. */
  | { kind: "present" }
  /** The communities that a tab watches. Each tab says it when it changes, and at each of the leader's signs of life. */
  | { kind: "watch"; tab: string; ids: number[] }
  /** The communities whose events come, and the event from which on all of them do. Only the leader sends it. */
  | { kind: "communities"; ids: number[]; since: number }
  /** The leader is to try at once: this tab came online, or `reconnect` was called. */
  | { kind: "wake" };

/** The channel between the tabs. It does nothing if the browser has none. */
export class TabChannel {
  #channel: Channel | undefined;

  constructor(open: ((name: string) => Channel) | undefined, name: string, receive: (message: TabMessage) => void) {
    try {
      this.#channel = open?.(name);
    } catch {
      // A page that may not store anything has no channel either.
    }
    if (!this.#channel) return;
    this.#channel.onmessage = (event) => {
      if (isTabMessage(event.data)) receive(event.data);
    };
  }

  get isOpen(): boolean {
    return this.#channel !== undefined;
  }

  post(message: TabMessage): void {
    this.#channel?.postMessage(message);
  }

  close(): void {
    if (!this.#channel) return;
    this.#channel.onmessage = null;
    this.#channel.close();
    this.#channel = undefined;
  }
}

const isCursor = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
const isIds = (value: unknown) => Array.isArray(value) && value.every(isCursor);
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** Other code may post anything on a channel of this name. Such messages are ignored. */
function isTabMessage(data: unknown): data is TabMessage {
  if (!isRecord(data)) return false;
  switch (data["kind"]) {
    case "answer": {
      const { from, head, events } = data;
      if (!isCursor(from) || !isCursor(head) || (head as number) < (from as number) || !Array.isArray(events))
        return false;
      return events.every(
        (event) => isRecord(event) && isCursor(event["event_id"]) && (event["event_id"] as number) <= (head as number),
      );
    }
    case "status":
      return isRecord(data["status"]) && typeof data["status"]["state"] === "string";
    case "hello":
      return typeof data["tab"] === "string" && (data["since"] === null || isCursor(data["since"]));
    case "watch":
      return typeof data["tab"] === "string" && isIds(data["ids"]);
    case "communities":
      return isIds(data["ids"]) && isCursor(data["since"]);
    case "beat":
    case "active":
    case "present":
    case "wake":
      return true;
    default:
      return false;
  }
}

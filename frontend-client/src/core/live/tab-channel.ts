import type { Event } from "../generated/api.js";
import type { Channel } from "./environment.js";
import type { RealtimeStatus } from "./status.js";

/**
 * The version of the messages. It is part of the names of the channel and of the lock: tabs with another version of this
 * package have a leader of their own.
 */
export const TAB_PROTOCOL = 2;

/** What tabs of one user tell each other. Only the leader sends `answer`, `status` and `beat`; nobody passes on what it got. */
export type TabMessage =
  /** Continues a log at `from`. `reset`: everything cached before `from` may be wrong. `to`: for one tab only. */
  | { kind: "answer"; from: number; events: Event[]; head: number; reset?: boolean; to?: string }
  | { kind: "status"; status: RealtimeStatus }
  /** The leader runs. Tabs that are visible answer with `present`. */
  | { kind: "beat" }
  /** A tab came, with snapshots that are good up to `since`. */
  | { kind: "hello"; tab: string; since: number | null }
  /** A person is using some tab. */
  | { kind: "active" }
  /** A tab is visible: a person may be reading it without a click. */
  | { kind: "present" }
  /** A tab has a reason to try at once: it came online or was shown. */
  | { kind: "wake" };

/** The channel between the tabs; does nothing where there is none. */
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
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** Anything may be said on a channel: what is not a message of ours is ignored. */
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
    case "beat":
    case "active":
    case "present":
    case "wake":
      return true;
    default:
      return false;
  }
}

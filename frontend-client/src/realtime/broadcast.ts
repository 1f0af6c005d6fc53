import type { Event } from "../generated/api.js";
import type { Channel } from "./environment.js";
import type { RealtimeStatus } from "./status.js";

/** What tabs of one user tell each other. Only the leader sends `answer` and `status`; nobody passes on what it got. */
export type TabMessage =
  /** Continues a log at `from`. `reset`: everything cached before `from` may be wrong. `to`: for one tab only. */
  | { kind: "answer"; from: number; events: Event[]; head: number; reset?: boolean; to?: string }
  | { kind: "status"; status: RealtimeStatus }
  /** A tab came, with snapshots that are good up to `since`. */
  | { kind: "hello"; tab: string; since: number | null }
  /** A person is using some tab. */
  | { kind: "active" }
  /** A tab has a reason to try at once: it came online or was shown. */
  | { kind: "wake" };

/** The channel between the tabs; does nothing where there is none. */
export class Tabs {
  readonly #channel: Channel | undefined;

  constructor(open: ((name: string) => Channel) | undefined, name: string, receive: (message: TabMessage) => void) {
    this.#channel = open?.(name);
    if (this.#channel) this.#channel.onmessage = (event) => receive(event.data as TabMessage);
  }

  post(message: TabMessage): void {
    this.#channel?.postMessage(message);
  }

  close(): void {
    if (!this.#channel) return;
    this.#channel.onmessage = null;
    this.#channel.close();
  }
}

import { callEach } from "../callbacks.js";
import type { Comment, Discussion, DiscussionPatch, NewComment, NewDiscussion } from "../generated/api.js";

/**
 * What the user did and the cache does not show yet. The cache holds only what snapshots and events say; these lie on top
 * of it when it is read, and go when it shows them. So an answer and the author's own event may come in any order, or
 * one without the other, with no flicker and no double.
 */
export type Operation = {
  /** Names the attempt for good: the Idempotency-Key of every retry, and the item's key on screen. */
  key: string;
  at: number;
  /** `held`: it can be taken back still. `waiting`: the server cannot be reached; it is sent when it can. `failed`: it was refused. */
  state: "held" | "sending" | "waiting" | "confirmed" | "failed";
  error?: unknown;
} & (
  | { kind: "create_comment"; discussionId: number; input: NewComment; result?: Comment; after: number }
  | { kind: "update_comment"; discussionId: number; id: number; text: string; result?: Comment }
  | { kind: "delete_comment"; discussionId: number; id: number }
  | { kind: "create_discussion"; articleId: number; input: NewDiscussion; result?: Discussion; after: number }
  | { kind: "update_discussion"; id: number; patch: DiscussionPatch; result?: Discussion }
  | { kind: "delete_discussion"; id: number }
);

/** The operations of one provider, for `useSyncExternalStore`. */
export class Pending {
  #operations: readonly Operation[] = [];
  readonly #listeners = new Set<() => void>();

  readonly subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };
  readonly snapshot = () => this.#operations;

  get(key: string): Operation | undefined {
    return this.#operations.find((operation) => operation.key === key);
  }

  add(operation: Operation): void {
    this.#set([...this.#operations.filter((other) => other.key !== operation.key), operation]);
  }

  change(key: string, change: Partial<Operation>): void {
    this.#set(
      this.#operations.map((operation) =>
        operation.key === key ? ({ ...operation, ...change } as Operation) : operation,
      ),
    );
  }

  remove(...gone: string[]): void {
    if (gone.length > 0) this.#set(this.#operations.filter((operation) => !gone.includes(operation.key)));
  }

  #set(operations: readonly Operation[]): void {
    this.#operations = operations;
    callEach(this.#listeners, undefined);
  }
}

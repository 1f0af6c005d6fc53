import { callEach } from "../callbacks.js";
import type { Comment, Discussion, DiscussionPatch, NewComment, NewDiscussion } from "../generated/api.js";

/** What the user saw when they began to change it. */
export interface Version {
  updated_at: string;
  text: string | null;
  topic?: string | null;
}

/**
 * A write of the user that the cache does not show yet. The cache holds only what snapshots and events say. The hooks apply
 * the operations to what they read from the cache, and remove an operation when the cache shows it. So the answer and the
 * author's own event may come in any order, or only one of them, and the page shows the item once and without flicker.
 */
export type Operation = {
  /** The Idempotency-Key of every attempt, and the item's React key. It never changes. */
  key: string;
  at: number;
  /** `held`: the user can still undo it. `waiting`: it will be sent when the server can be reached. `failed`: the server refused it. */
  state: "held" | "sending" | "waiting" | "confirmed" | "failed";
  error?: unknown;
} & (
  | { kind: "create_comment"; discussionId: number; input: NewComment; result?: Comment; after: number }
  | {
      kind: "update_comment";
      discussionId: number;
      id: number;
      text: string;
      from?: Version | undefined;
      result?: Comment;
    }
  | { kind: "delete_comment"; discussionId: number; id: number }
  | { kind: "create_discussion"; articleId: number; input: NewDiscussion; result?: Discussion; after: number }
  | { kind: "update_discussion"; id: number; patch: DiscussionPatch; from?: Version | undefined; result?: Discussion }
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

import { Listeners } from "../callbacks.js";
import { mapChanged, type KnownEvent } from "../events.js";
import type {
  Comment,
  CommentTree,
  Discussion,
  DiscussionPatch,
  NewComment,
  NewDiscussion,
  Votes,
  VoteValue,
} from "../generated/api.js";
import { foldTree } from "../reducers/comments.js";

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
  | {
      kind: "create_comment";
      discussionId: number;
      input: NewComment;
      /** The comment with the replies to it. Events keep it current, because its page may not be loaded for long. */
      result?: CommentTree;
      after: number;
    }
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
  | Vote
);

/** A vote of the user on a comment or discussion. There is one operation for each thing: its `key` is `voteKey`. */
export type Vote = VotedThing & {
  value: VoteValue;
  result?: Votes;
  /** An event has told of the vote that was sent, or of a later one. */
  isTold?: boolean;
};

export type VotedThing =
  { kind: "vote_comment"; id: number; discussionId: number } | { kind: "vote_discussion"; id: number };

export function voteKey({ kind, id }: VotedThing): string {
  return `${kind}:${id}`;
}

/** The operations of one provider, for `useSyncExternalStore`. */
export class Pending {
  #operations: readonly Operation[] = [];
  readonly #listeners = new Listeners<void>();

  readonly subscribe = (listener: () => void) => this.#listeners.add(listener);
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

  /** Brings comments up to date that the server has and that the cache may not have. */
  fold(events: readonly KnownEvent[]): void {
    const folded = mapChanged(this.#operations, (operation) => {
      if (operation.kind === "vote_comment" || operation.kind === "vote_discussion")
        return !operation.isTold && events.some((event) => tells(event, operation))
          ? { ...operation, isTold: true }
          : operation;
      if (operation.kind !== "create_comment" || !operation.result) return operation;
      const result = events.reduce(foldTree, operation.result);
      return result === operation.result ? operation : { ...operation, result };
    });
    if (folded !== this.#operations) this.#set(folded);
  }

  remove(...gone: string[]): void {
    if (gone.length > 0) this.#set(this.#operations.filter((operation) => !gone.includes(operation.key)));
  }

  #set(operations: readonly Operation[]): void {
    this.#operations = operations;
    this.#listeners.call();
  }
}

/** Whether the event tells of the vote that the server has confirmed, or of a later one on the same thing. */
function tells(event: KnownEvent, { kind, id, result }: Vote): boolean {
  if (event.type !== "own_vote_changed" || !result) return false;
  const isOf = kind === "vote_comment" ? event.comment_id === id : !event.comment_id && event.discussion_id === id;
  return isOf && Date.parse(event.timestamp) >= Date.parse(result.timestamp);
}

import { Listeners } from "../callbacks.js";
import { mapChanged, type KnownEvent } from "../events.js";
import type {
  Comment,
  CommentTree,
  Discussion,
  DiscussionPatch,
  NewComment,
  NewDiscussion,
  Summary,
  Votes,
  VoteValue,
} from "../generated/api.js";
import type { Follow, FollowLevel } from "../wire.js";
import { foldTree } from "../reducers/comments.js";
import { isOfSummary } from "../reducers/summary.js";

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
  | SummaryText
  | SummaryDeletion
  | Vote
  | FollowOperation
  | ReadOperation
);

/** A text of the summary of an article in a community. */
export interface SummaryText {
  kind: "write_summary";
  articleId: number;
  communityId: number;
  text: string;
  /** What the user began to change; null for no summary. Undefined overwrites whatever is there. */
  from?: Version | null | undefined;
  result?: Summary;
  /** An event has told of this text, or of a later change. */
  isTold?: boolean;
}

/** The deletion of the summary of an article in a community. */
export interface SummaryDeletion {
  kind: "delete_summary";
  articleId: number;
  communityId: number;
  /** What the user saw when they deleted it. Undefined deletes whatever is there. */
  from?: Version | undefined;
  /** The newest event that the page had. */
  after: number;
  isTold?: boolean;
}

/** What the user says about an article or a discussion. There is one operation for each thing: its `key` is `followKey`. */
export type FollowOperation = FollowedThing & {
  value: FollowLevel;
  /** The newest event that the page had when it was sent first. */
  after: number;
  result?: Follow;
  /** An event after that has told of what was sent. */
  isTold?: boolean;
};

export type FollowedThing =
  { kind: "follow_discussion"; id: number } | { kind: "follow_article"; id: number; communityId: number };

export function followKey(thing: FollowedThing): string {
  return `${thing.kind}:${thing.id}${thing.kind === "follow_article" ? `:${thing.communityId}` : ""}`;
}

/** Notifications that the user has read: those of `ids`, and all up to `upTo`. */
export interface ReadOperation {
  kind: "read_notifications";
  ids: readonly number[];
  upTo: number;
  /** The newest event that the page had. */
  after: number;
  isTold?: boolean;
}

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
      if ("isTold" in operation && operation.isTold) return operation;
      if (events.some((event) => tells(event, operation))) return { ...operation, isTold: true } as Operation;
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

/** Whether the event tells of what the user has sent, or of something later about the same thing. */
function tells(event: KnownEvent, operation: Operation): boolean {
  switch (operation.kind) {
    case "vote_comment":
    case "vote_discussion":
      return event.type === "own_vote_changed" && tellsVote(event, operation);
    case "follow_article":
    case "follow_discussion":
      return event.type === "follow_changed" && event.event_id > operation.after && tellsFollow(event, operation);
    case "read_notifications":
      return event.type === "notifications_read" && event.event_id > operation.after && tellsRead(event, operation);
    case "write_summary":
      return (
        operation.result !== undefined && isOfSummary(operation, event) && event.revision >= operation.result.revision
      );
    case "delete_summary":
      return isOfSummary(operation, event) && event.event_id > operation.after && event.text === null;
    default:
      return false;
  }
}

type EventOf<T extends KnownEvent["type"]> = Extract<KnownEvent, { type: T }>;

function tellsVote(event: EventOf<"own_vote_changed">, { kind, id, result }: Vote): boolean {
  if (!result) return false;
  const isOf = kind === "vote_comment" ? event.comment_id === id : !event.comment_id && event.discussion_id === id;
  return isOf && Date.parse(event.timestamp) >= Date.parse(result.timestamp);
}

function tellsFollow(event: EventOf<"follow_changed">, operation: FollowOperation): boolean {
  const isOf =
    operation.kind === "follow_discussion"
      ? event.discussion_id === operation.id
      : event.discussion_id === null &&
        event.article_id === operation.id &&
        event.community_id === operation.communityId;
  return isOf && (event.is_default ? "default" : event.level) === operation.value;
}

/** An event without ids and without `up_to_id` tells that many were read, and not which. */
function tellsRead(event: EventOf<"notifications_read">, operation: ReadOperation): boolean {
  const { ids, up_to_id = null } = event as typeof event & { up_to_id?: number | null };
  if (ids === null && up_to_id === null) return true;
  const isRead = (id: number) => id <= (up_to_id ?? 0) || (ids?.includes(id) ?? false);
  const { upTo } = operation;
  // An event may name those that were read by an `up_to_id`, of which this page need not know all.
  return (up_to_id === null || up_to_id >= upTo) && operation.ids.every(isRead) && (upTo === 0 || !!up_to_id || !!ids);
}

import type { Author, Comment, CommentTree, Discussion, ViewerInfo } from "../generated/api.js";
import type { DiscussionScope } from "../reducers/discussions.js";
import type { Operation } from "./pending.js";

/** What the server knows of an item. */
export interface ItemState {
  /** Use it as React's `key`. It stays the same from when the user sends the item on. */
  key: string;
  pending: boolean;
  /** Why it was not sent. If `pending` too, it is sent by itself later. Pass `key` to the hook's `retry`, `edit` or `discard`. */
  error: unknown;
  /** While a deletion can be undone: pass this to `discard` to undo it. */
  undo: string | undefined;
  /** The viewer wrote it. */
  mine: boolean;
}

export type DiscussionItem = Discussion & ItemState;
export type CommentItem = Comment & ItemState & { replies: CommentItem[] };

/** The cached items with the operations applied, and the keys of the operations that the cache already shows. */
export interface Overlaid<T> {
  items: T[];
  settled: string[];
}

/** By id: the key of the operation that created the item. The item keeps this key as its React key. */
export type StableKeys = Map<number, string>;

type Of<K extends Operation["kind"]> = Extract<Operation, { kind: K }>;

/** Whether the viewer is the author, by id or by the viewer's pseudonym in that community. */
export function isMine(author: Author | null, viewer: ViewerInfo | null, communityId?: number): boolean {
  if (!author || !viewer) return false;
  if (author.id !== null) return author.id === viewer.user_id;
  return viewer.memberships.some(
    (membership) =>
      membership.pseudonym === author.username &&
      (communityId === undefined || membership.community_id === communityId),
  );
}

export function overlayDiscussions(
  discussions: readonly Discussion[],
  operations: readonly Operation[],
  { articleId, communityId }: DiscussionScope,
  viewer: ViewerInfo | null,
  keys: StableKeys,
): Overlaid<DiscussionItem> {
  const settled: string[] = [];
  const claimed = new Set<number>();
  const created: DiscussionItem[] = [];
  for (const operation of operations) {
    if (operation.kind !== "create_discussion" || operation.articleId !== articleId) continue;
    // A list shows only new discussions of its own community.
    if (communityId !== undefined && operation.input.community_id !== communityId) continue;
    const found = discussions.find((discussion) =>
      operation.result
        ? discussion.id === operation.result.id
        : isNew(operation, discussion, claimed) &&
          isMine(discussion.author, viewer, discussion.community_id) &&
          discussion.community_id === operation.input.community_id &&
          discussion.topic === operation.input.topic.trim() &&
          discussion.text === operation.input.text.trim(),
    );
    if (found) {
      claimed.add(found.id);
      keys.set(found.id, operation.key);
      if (operation.state === "confirmed") settled.push(operation.key);
    } else created.push(draftDiscussion(operation, viewer));
  }
  const items = discussions.map((discussion) => {
    let shown = {
      ...discussion,
      key: keys.get(discussion.id) ?? String(discussion.id),
      pending: false,
      error: undefined as unknown,
      undo: undefined as string | undefined,
    };
    for (const operation of operations) {
      if (operation.kind === "update_discussion" && operation.id === discussion.id) {
        if (showsUpdate(operation, discussion, () => matches(discussion, operation.patch))) settled.push(operation.key);
        else if (operation.state !== "failed")
          shown = {
            ...shown,
            ...defined(operation.patch),
            pending: operation.state !== "confirmed",
            error: operation.error,
          };
      }
      if (operation.kind === "delete_discussion" && operation.id === discussion.id) {
        if (discussion.deleted_at !== null) settled.push(operation.key);
        else if (operation.state !== "failed") shown = { ...shown, ...tombstone(operation) };
      }
    }
    return { ...shown, mine: isMine(discussion.author, viewer, discussion.community_id) };
  });
  return { items: [...created.reverse(), ...items], settled };
}

export function overlayComments(
  trees: readonly CommentTree[],
  operations: readonly Operation[],
  discussionId: number,
  viewer: ViewerInfo | null,
  keys: StableKeys,
): Overlaid<CommentItem> {
  const settled: string[] = [];
  const claimed = new Set<number>();
  const own = operations.filter((operation) => "discussionId" in operation && operation.discussionId === discussionId);
  const creates = own.filter((operation) => operation.kind === "create_comment");

  const level = (comments: readonly CommentTree[], parentId: number | null, depth: number): CommentItem[] => {
    const drafts = creates.filter((operation) => (operation.input.parent_id ?? null) === parentId);
    const waiting = drafts.filter((operation) => {
      const found = comments.find((comment) =>
        operation.result
          ? comment.id === operation.result.id
          : isNew(operation, comment, claimed) &&
            isMine(comment.author, viewer) &&
            comment.text === operation.input.text.trim(),
      );
      if (!found) return true;
      claimed.add(found.id);
      keys.set(found.id, operation.key);
      if (operation.state === "confirmed") settled.push(operation.key);
      return false;
    });
    const items = comments.map((comment) => {
      const replies = level(comment.replies, comment.id, depth + 1);
      return {
        ...overlayComment(comment, own, settled),
        key: keys.get(comment.id) ?? String(comment.id),
        mine: isMine(comment.author, viewer),
        replies,
      };
    });
    return [...items, ...waiting.map((operation) => draftComment(operation, depth, viewer))];
  };
  return { items: level(trees, null, 1), settled };
}

function overlayComment(comment: CommentTree, operations: readonly Operation[], settled: string[]) {
  let shown = { ...comment, pending: false, error: undefined as unknown, undo: undefined as string | undefined };
  for (const operation of operations) {
    if (operation.kind === "update_comment" && operation.id === comment.id) {
      if (showsUpdate(operation, comment, () => comment.text === operation.text.trim())) settled.push(operation.key);
      else if (operation.state !== "failed")
        shown = { ...shown, text: operation.text, pending: operation.state !== "confirmed", error: operation.error };
    }
    if (operation.kind === "delete_comment" && operation.id === comment.id) {
      if (comment.deleted_at !== null) settled.push(operation.key);
      else if (operation.state !== "failed") shown = { ...shown, ...tombstone(operation) };
    }
  }
  return shown;
}

/** Whether the item is newer than the operation, and not already matched with another operation of the same text. */
function isNew(operation: { after: number }, item: { id: number }, claimed: ReadonlySet<number>): boolean {
  return item.id > operation.after && !claimed.has(item.id);
}

/** Whether the cache shows a confirmed update, or a later change of the same item. */
function showsUpdate(
  operation: Of<"update_comment"> | Of<"update_discussion">,
  item: { updated_at: string; deleted_at: string | null },
  same: () => boolean,
): boolean {
  if (operation.state !== "confirmed") return false;
  if (item.deleted_at !== null || same()) return true;
  return operation.result !== undefined && Date.parse(item.updated_at) >= Date.parse(operation.result.updated_at);
}

function matches(discussion: Discussion, patch: Of<"update_discussion">["patch"]): boolean {
  return Object.entries(defined(patch)).every(
    ([name, value]) => discussion[name as keyof Discussion] === (typeof value === "string" ? value.trim() : value),
  );
}

function defined(patch: Of<"update_discussion">["patch"]): Partial<Pick<Discussion, "topic" | "text" | "is_resolved">> {
  return Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined && value !== null));
}

const tombstone = ({ at, key, state }: Operation) => ({
  text: null,
  author: null,
  deleted_at: new Date(at).toISOString(),
  pending: true,
  undo: state === "held" ? key : undefined,
});

function draft(operation: Operation, viewer: ViewerInfo | null, communityId?: number) {
  const pseudonym = viewer?.memberships.find(
    (one) => communityId === undefined || one.community_id === communityId,
  )?.pseudonym;
  const author: Author = {
    id: pseudonym ? null : (viewer?.user_id ?? null),
    username: pseudonym ?? "",
    avatar_url: null,
  };
  const time = new Date(operation.at).toISOString();
  return {
    author,
    created_at: time,
    updated_at: time,
    edited_at: null,
    deleted_at: null,
    key: operation.key,
    pending: operation.state !== "failed",
    error: operation.error,
    undo: undefined,
    mine: true,
  };
}

/** Negative ids, which the server never assigns. */
const draftId = (operation: Operation) => -operation.at;

function draftComment(operation: Of<"create_comment">, depth: number, viewer: ViewerInfo | null): CommentItem {
  const { discussionId: discussion_id, input, result } = operation;
  const base = {
    id: result?.id ?? draftId(operation),
    discussion_id,
    parent_id: input.parent_id ?? null,
    depth,
    text: input.text,
  };
  return { ...base, ...draft(operation, viewer), ...(result && { ...result, pending: false }), replies: [] };
}

const unresolved = { is_resolved: false, resolved_at: null, resolved_by: null, comment_count: 0 };

function draftDiscussion(operation: Of<"create_discussion">, viewer: ViewerInfo | null): DiscussionItem {
  const { articleId: article_id, input, result } = operation;
  const base = { id: result?.id ?? draftId(operation), article_id, ...input, ...unresolved };
  return { ...base, ...draft(operation, viewer, input.community_id), ...(result && { ...result, pending: false }) };
}

import type { Author, Comment, CommentTree, Discussion, ViewerInfo } from "../generated/api.js";
import type { DiscussionScope } from "../reducers/discussions.js";
import { viewerAfter, withOutcome, type ArticleFollow, type FollowFields } from "../reducers/follows.js";
import { isMine, mayBeMine, membershipIn } from "../viewer.js";
import type { Operation, Vote } from "./pending.js";

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
/** If `is_repeated`, only replies to the comment are loaded. The comment itself, with its text, is among the earlier comments. */
export type CommentItem = Comment & ItemState & { is_repeated?: boolean; replies: CommentItem[] };

/** The cached items with the operations applied, and the keys of the operations that the cache already shows. */
export interface Overlaid<T> {
  items: T[];
  settled: string[];
}

/** By id: the key of the operation that created the item. The item keeps this key as its React key. */
export type StableKeys = Map<number, string>;

type Of<K extends Operation["kind"]> = Extract<Operation, { kind: K }>;

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
          mayBeMine(discussion.author, viewer, discussion.community_id) &&
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
  const follows = operations.some(({ kind }) => kind === "follow_discussion" || kind === "follow_article");
  const viewerThen = operations.reduce(saysOfArticle, viewer);
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
      if (operation.kind === "vote_discussion" && operation.id === discussion.id)
        shown = overlayVote(shown, operation, settled);
      if (operation.kind === "follow_discussion" && operation.id === discussion.id)
        shown = overlayFollow(shown, operation, settled);
    }
    if (follows) shown = { ...shown, ...withOutcome(shown, viewerThen, discussion.community_id) };
    const mine = isMine(discussion.author, viewer, discussion.community_id);
    return { ...shown, mine, ...(isOwn(mine, keys, discussion) && { is_unread: false }) };
  });
  return { items: [...created.reverse(), ...items], settled };
}

/**
 * The items of one viewer's thread by the cached comment, for as long as nothing of the user is pending there. Folding keeps a
 * comment that no event changed as the same object, so that its item need not be made again.
 */
export class CommentItems {
  #items = new WeakMap<CommentTree, CommentItem>();

  get(comment: CommentTree): CommentItem | undefined {
    return this.#items.get(comment);
  }

  set(comment: CommentTree, item: CommentItem): void {
    this.#items.set(comment, item);
  }

  clear(): void {
    this.#items = new WeakMap();
  }
}

export function overlayComments(
  trees: readonly CommentTree[],
  operations: readonly Operation[],
  discussionId: number,
  viewer: ViewerInfo | null,
  keys: StableKeys,
  made = new CommentItems(),
): Overlaid<CommentItem> {
  const settled: string[] = [];
  const claimed = new Set<number>();
  const own = operations.filter((operation) => "discussionId" in operation && operation.discussionId === discussionId);
  const creates = own.filter((operation) => operation.kind === "create_comment");
  // An operation changes what is shown of a comment, and may give it another key for good.
  if (own.length > 0) made.clear();

  const level = (comments: readonly CommentTree[], parentId: number | null, depth: number): CommentItem[] => {
    const drafts = creates.filter((operation) => (operation.input.parent_id ?? null) === parentId);
    const waiting = drafts.filter((operation) => {
      const found = comments.find((comment) =>
        operation.result
          ? comment.id === operation.result.id
          : isNew(operation, comment, claimed) &&
            mayBeMine(comment.author, viewer) &&
            comment.text === operation.input.text.trim(),
      );
      if (!found) return true;
      claimed.add(found.id);
      keys.set(found.id, operation.key);
      if (operation.state === "confirmed") settled.push(operation.key);
      return false;
    });
    // The server has these, but their page is not loaded yet.
    const later = waiting.flatMap(({ key, result }) => {
      if (result) keys.set(result.id, key);
      return result ?? [];
    });
    const items = [...comments, ...later].map((comment) => {
      const before = made.get(comment);
      if (before) return before;
      const replies = level(comment.replies, comment.id, depth + 1);
      const mine = isMine(comment.author, viewer);
      const item = {
        ...overlayComment(comment, own, settled),
        key: keys.get(comment.id) ?? String(comment.id),
        mine,
        ...(isOwn(mine, keys, comment) && { is_unread: false }),
        replies,
      };
      if (own.length === 0) made.set(comment, item);
      return item;
    });
    const unsent = waiting.filter(({ result }) => !result);
    return [...items, ...unsent.map((operation) => draftComment(operation, depth, viewer))];
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
    if (operation.kind === "vote_comment" && operation.id === comment.id)
      shown = overlayVote(shown, operation, settled);
  }
  return shown;
}

type Voted = Pick<Comment, "upvotes" | "downvotes" | "own_vote">;

/** The item with the user's vote, until the cache shows it or a later one. */
function overlayVote<T extends Voted>(item: T, operation: Of<Vote["kind"]>, settled: string[]): T {
  const { key, state, value, isTold } = operation;
  const before = item.own_vote ?? 0;
  if (state === "confirmed" && (isTold || before === value)) {
    settled.push(key);
    return item;
  }
  const difference = (which: 1 | -1) => Number(value === which) - Number(before === which);
  return {
    ...item,
    own_vote: value,
    upvotes: Math.max(0, item.upvotes + difference(1)),
    downvotes: Math.max(0, item.downvotes + difference(-1)),
  };
}

/** The discussion with what the user says about it, until the cache shows it or something later. */
function overlayFollow<T extends FollowFields>(item: T, operation: Of<"follow_discussion">, settled: string[]): T {
  const { key, state, value, isTold } = operation;
  if (state === "confirmed" && (isTold || item.follow_level === value)) {
    settled.push(key);
    return item;
  }
  return { ...item, follow_level: value };
}

/** The viewer with what they say about an article. Until the answer only the server knows what holds where they take it back. */
function saysOfArticle(viewer: ViewerInfo | null, operation: Operation): ViewerInfo | null {
  if (operation.kind !== "follow_article" || (operation.state === "confirmed" && operation.isTold)) return viewer;
  const { communityId: community_id, result, value } = operation;
  const level = value === "default" ? result?.level : value;
  return level && viewer ? viewerAfter(viewer, { user_id: viewer.user_id, community_id, level }) : viewer;
}

/** What holds for an article, with what the user says about it. Undefined while it is not known. */
export function overlayArticle(
  cached: ArticleFollow | undefined,
  { id, communityId }: { id: number; communityId: number },
  operations: readonly Operation[],
): { follow: ArticleFollow | undefined; settled: string[] } {
  const settled: string[] = [];
  let follow = cached;
  for (const operation of operations) {
    if (operation.kind !== "follow_article" || operation.id !== id || operation.communityId !== communityId) continue;
    const { key, state, value, isTold, result } = operation;
    const said = cached && (cached.is_default ? "default" : cached.level);
    if (state === "confirmed" && (isTold || said === value)) settled.push(key);
    else if (result) follow = result;
    else {
      const is_followed = value === "default" ? (follow?.is_followed ?? false) : value === "follow";
      follow = { level: value, is_default: value === "default", is_followed };
    }
  }
  return { follow, settled };
}

/** Whether an unread item is the viewer's own. The event of a first post comes before the viewer knows the pseudonym. */
function isOwn(mine: boolean, keys: StableKeys, item: { id: number; is_unread: boolean | null }): boolean {
  return item.is_unread === true && (mine || keys.has(item.id));
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
  mentions: [],
  is_unread: false,
  deleted_at: new Date(at).toISOString(),
  pending: true,
  undo: state === "held" ? key : undefined,
});

function draft(operation: Operation, viewer: ViewerInfo | null, communityId?: number) {
  const pseudonym = membershipIn(viewer, communityId)?.pseudonym;
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
    upvotes: 0,
    downvotes: 0,
    own_vote: null,
    mentions: [],
    is_unread: false,
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
  const { discussionId: discussion_id, input } = operation;
  const parent_id = input.parent_id ?? null;
  const base = { id: draftId(operation), discussion_id, parent_id, depth, text: input.text };
  return { ...base, ...draft(operation, viewer), replies: [] };
}

const unresolved = { is_resolved: false, resolved_at: null, resolved_by: null };
const ownFollow = { follow_level: "default" as const, has_written: true, is_followed: true };
const noComments = { comment_count: 0, unread_count: 0, first_unread_comment_id: null, comment_version: 0 };

function draftDiscussion(operation: Of<"create_discussion">, viewer: ViewerInfo | null): DiscussionItem {
  const { articleId: article_id, input, result } = operation;
  const base = {
    id: result?.id ?? draftId(operation),
    article_id,
    ...input,
    ...unresolved,
    ...noComments,
    ...ownFollow,
  };
  return { ...base, ...draft(operation, viewer, input.community_id), ...(result && { ...result, pending: false }) };
}

import { insertAt, mapChanged, renamed, replaceAt, type AuthorChanged, type KnownEvent } from "../events.js";
import type { CommentPage, CommentTree } from "../generated/api.js";
import { ok, refetch, type Folded } from "./fold.js";

type CommentEvent = Extract<KnownEvent, { type: "new_comment" | "updated_comment" | "deleted_comment" }>;

/** Whether the event can change this discussion's comments. `communityId`: where it is; undefined, it may be anywhere. */
export function concernsComments(
  discussionId: number,
  event: KnownEvent,
  communityId?: number,
): event is CommentEvent | AuthorChanged {
  switch (event.type) {
    case "new_comment":
    case "updated_comment":
    case "deleted_comment":
      return event.discussion_id === discussionId;
    case "author_changed":
      return communityId === undefined || communityId === event.community_id;
    default:
      return false;
  }
}

/**
 * Folds one event into cached pages of comment trees (roots and replies ascend by id). A parent that should be there and
 * is not means that something was missed: refetch.
 */
export function foldComments(
  pages: readonly CommentPage[],
  discussionId: number,
  event: KnownEvent,
  communityId?: number,
): Folded<readonly CommentPage[]> {
  if (!concernsComments(discussionId, event, communityId)) return ok(pages);
  if (event.type === "author_changed") return ok(mapChanged(pages, (page) => renameIn(page, event)));
  // The page that has the comment or its parent; a page that is not loaded yet may have it, too.
  const target = event.type === "new_comment" ? (event.parent_id ?? undefined) : event.comment_id;
  if (target === undefined && event.type === "new_comment")
    return ok(insertRoot(pages, fromEvent(event), event.event_id));
  for (const [at, page] of pages.entries()) {
    const comments = update(page.comments, target as number, (comment) => apply(comment, event));
    if (comments === undefined) continue;
    if (event.event_id <= page.last_event_id) return ok(pages);
    return ok(replaceAt(pages, at, { ...page, comments, last_event_id: event.event_id }));
  }
  const complete = pages[pages.length - 1]?.next_cursor === null;
  const covered = pages.every((page) => event.event_id <= page.last_event_id);
  return complete && !covered ? refetch : ok(pages);
}

function renameIn(page: CommentPage, event: AuthorChanged): CommentPage {
  if (event.event_id <= page.last_event_id) return page;
  const rename = (tree: CommentTree): CommentTree => {
    const replies = mapChanged(tree.replies, rename);
    return renamed(replies === tree.replies ? tree : { ...tree, replies }, event);
  };
  const comments = mapChanged(page.comments, rename);
  return comments === page.comments ? page : { ...page, comments, last_event_id: event.event_id };
}

/** `comment` is the one concerned, or the parent of a new one. */
function apply(comment: CommentTree, event: CommentEvent): CommentTree {
  switch (event.type) {
    case "new_comment":
      return { ...comment, replies: insertSorted(comment.replies, fromEvent(event)) };
    case "updated_comment":
      if (comment.deleted_at !== null) return comment;
      return { ...comment, text: event.text, author: event.author, updated_at: event.timestamp };
    case "deleted_comment":
      return { ...comment, text: null, author: null, deleted_at: event.timestamp };
  }
}

function fromEvent(event: Extract<KnownEvent, { type: "new_comment" }>): CommentTree {
  const { comment_id: id, discussion_id, parent_id, depth, text, author, timestamp } = event;
  const times = { created_at: timestamp, updated_at: timestamp, deleted_at: null };
  return { id, discussion_id, parent_id, depth, text, author, ...times, replies: [] };
}

/** The trees with the comment `id` changed, at any depth; undefined if it is in none of them. */
function update(
  trees: CommentTree[],
  id: number,
  change: (comment: CommentTree) => CommentTree,
): CommentTree[] | undefined {
  for (const [at, tree] of trees.entries()) {
    if (tree.id === id) return replaceAt(trees, at, change(tree));
    const replies = update(tree.replies, id, change);
    if (replies) return replaceAt(trees, at, { ...tree, replies });
  }
  return undefined;
}

function insertSorted(trees: CommentTree[], comment: CommentTree): CommentTree[] {
  const at = trees.findIndex((other) => other.id >= comment.id);
  if (at < 0) return [...trees, comment];
  // Already there, perhaps newer: the events after this one say so again.
  return trees[at]?.id === comment.id ? trees : insertAt(trees, at, comment);
}

/** A root beyond the last loaded page comes with its page. */
function insertRoot(pages: readonly CommentPage[], comment: CommentTree, eventId: number): readonly CommentPage[] {
  const at = pages.findIndex((page) => {
    const last = page.comments[page.comments.length - 1];
    return page.next_cursor === null || (last?.id ?? 0) >= comment.id;
  });
  const page = pages[at];
  if (page === undefined || eventId <= page.last_event_id) return pages;
  return replaceAt(pages, at, { ...page, comments: insertSorted(page.comments, comment), last_event_id: eventId });
}

import {
  insertAt,
  mapChanged,
  mentionsAfter,
  renamed,
  replaceAt,
  votesAfter,
  type AuthorChanged,
  type KnownEvent,
} from "../events.js";
import type { CommentPage, CommentTree, ViewerInfo } from "../generated/api.js";
import { ok, refetch, type Folded } from "./fold.js";
import { isUnreadAtFirst, markedBy, type ReadStateChanged } from "./unread.js";
import { closesTo, type CommunityChanged } from "./visibility.js";

type CommentEvent = Extract<
  KnownEvent,
  { type: "new_comment" | "updated_comment" | "deleted_comment" | "votes_changed" | "own_vote_changed" }
> & { comment_id: number };

/** Whether the event can change this discussion's comments. `communityId` is the discussion's community, undefined if unknown. */
export function concernsComments(
  discussionId: number,
  event: KnownEvent,
  communityId?: number,
): event is CommentEvent | AuthorChanged | ReadStateChanged | CommunityChanged {
  switch (event.type) {
    case "new_comment":
    case "updated_comment":
    case "deleted_comment":
    case "read_state_changed":
      return event.discussion_id === discussionId;
    case "votes_changed":
    case "own_vote_changed":
      return event.discussion_id === discussionId && event.comment_id !== null;
    case "author_changed":
      return communityId === undefined || communityId === event.community_id;
    case "community_changed":
      return communityId === event.community_id;
    default:
      return false;
  }
}

/**
 * Folds one event into cached pages of comment trees (roots and replies ascend by id). If all pages are loaded and the
 * event's comment or parent is in none of them, an event was missed and the result is `refetch`.
 *
 * A page may end among the replies to a root. The next page then repeats the comments above its replies. Each comment is kept on
 * the page that the server would put it on, so that a page which is loaded later has no comment twice and leaves none out. Pages
 * before the first one may be missing too.
 */
export function foldComments(
  pages: readonly CommentPage[],
  discussionId: number,
  event: KnownEvent,
  communityId?: number,
): Folded<readonly CommentPage[]> {
  if (!concernsComments(discussionId, event, communityId)) return ok(pages);
  if (event.type === "author_changed") return ok(mapChanged(pages, (page) => renameIn(page, event)));
  if (event.type === "read_state_changed") return markIn(pages, event);
  if (event.type === "community_changed") return ok(mapChanged(pages, (page) => closeIn(page, event)));
  if (event.type === "new_comment") {
    const comment = fromEvent(event, pages[0]?.viewer ?? null);
    if (event.parent_id === null) return ok(insertRoot(pages, comment, event.event_id));
    const path = pathTo(pages, event.parent_id);
    if (path) return ok(insertReply(pages, path, comment, event.event_id));
  } else {
    for (const [at, page] of pages.entries()) {
      const comments = update(page.comments, event.comment_id, (comment) => apply(comment, event));
      if (comments === undefined) continue;
      if (event.event_id <= page.last_event_id) return ok(pages);
      return ok(replaceAt(pages, at, { ...page, comments, last_event_id: event.event_id }));
    }
  }
  // The comment, or the one above it, may be on a page that is not loaded yet.
  const complete = !hasEarlier(pages) && pages[pages.length - 1]?.next_cursor === null;
  const isHere = event.type === "new_comment" && startsBelow(pages, event.parent_id);
  const covered = pages.every((page) => event.event_id <= page.last_event_id);
  return (complete || isHere) && !covered ? refetch : ok(pages);
}

/** Folds one event into a comment that no loaded page has, and into the replies below it. */
export function foldTree(tree: CommentTree, event: KnownEvent): CommentTree {
  if (!concernsComments(tree.discussion_id, event)) return tree;
  if (event.type === "author_changed") return renameTree(tree, event);
  // Nobody has a viewer here, so nothing below counts as unread before its page is loaded.
  if (event.type === "read_state_changed" || event.type === "community_changed") return tree;
  if (event.type !== "new_comment")
    return update([tree], event.comment_id, (comment) => apply(comment, event))?.[0] ?? tree;
  const path = event.parent_id === null ? undefined : pathIn([tree], event.parent_id);
  return (path && insertBelow([tree], path, fromEvent(event, null))[0]) ?? tree;
}

function renameTree(tree: CommentTree, event: AuthorChanged): CommentTree {
  const replies = mapChanged(tree.replies, (reply) => renameTree(reply, event));
  return renamed(replies === tree.replies ? tree : { ...tree, replies }, event);
}

function renameIn(page: CommentPage, event: AuthorChanged): CommentPage {
  if (event.event_id <= page.last_event_id) return page;
  const comments = mapChanged(page.comments, (tree) => renameTree(tree, event));
  return comments === page.comments ? page : { ...page, comments, last_event_id: event.event_id };
}

/** The page without comments if its viewer may not read them any more. */
function closeIn(page: CommentPage, event: CommunityChanged): CommentPage {
  if (event.event_id <= page.last_event_id || !closesTo(page.viewer, event)) return page;
  const nothing = { comments: [], previous_cursor: null, next_cursor: null, continues: false };
  return { ...page, ...nothing, last_event_id: event.event_id };
}

/** Marks the comments by an event that says which are read. An event with too many ranges does not say it. */
function markIn(pages: readonly CommentPage[], event: ReadStateChanged): Folded<readonly CommentPage[]> {
  const { event_id, read_comments, user_id } = event;
  const isOutdated = (page: CommentPage) =>
    event_id > page.last_event_id && page.viewer?.user_id === user_id && page.viewer.memberships.length > 0;
  if (read_comments === null) return pages.some(isOutdated) ? refetch : ok(pages);
  return ok(
    mapChanged(pages, (page) => {
      if (!isOutdated(page)) return page;
      const comments = markedBy(page.comments, read_comments, page.viewer);
      return comments === page.comments ? page : { ...page, comments, last_event_id: event_id };
    }),
  );
}

/** The comments of all pages as trees: what a page repeats is put together with what the earlier page has. */
export function commentTrees(pages: readonly CommentPage[]): CommentTree[] {
  return pages.reduce<CommentTree[]>((trees, page) => merge(trees, page.comments), []);
}

function merge(trees: readonly CommentTree[], more: readonly CommentTree[]): CommentTree[] {
  const merged = trees.slice();
  for (const tree of more) {
    let at = merged.length;
    while (at > 0 && (merged[at - 1]?.id ?? 0) > tree.id) at -= 1;
    const same = merged[at - 1];
    if (same?.id === tree.id) {
      const comment = same.is_repeated ? tree : same;
      merged[at - 1] = { ...comment, replies: merge(same.replies, tree.replies) };
    } else merged.splice(at, 0, tree);
  }
  return merged;
}

/** What a tombstone shows. */
const nothing = { text: null, author: null, mentions: [] };

/** Nothing is left to read. An older server says nothing of it. */
const gone = ({ is_unread }: CommentTree) => ({ ...nothing, ...(is_unread && { is_unread: false }) });

function apply(comment: CommentTree, event: Exclude<CommentEvent, { type: "new_comment" }>): CommentTree {
  switch (event.type) {
    case "updated_comment": {
      // Either may be newer: the comment, whose deletion is on its way, or the event, which was redacted.
      const deleted_at = comment.deleted_at ?? event.deleted_at ?? null;
      const { text, author } = event;
      // An older server sends no votes.
      const { upvotes = comment.upvotes, downvotes = comment.downvotes, edited_at, timestamp: updated_at } = event;
      const mentions = mentionsAfter(event, comment.mentions);
      const words = deleted_at === null ? { text, author, mentions } : gone(comment);
      return { ...comment, ...words, upvotes, downvotes, updated_at, edited_at, deleted_at };
    }
    case "deleted_comment":
      return { ...comment, ...gone(comment), deleted_at: event.timestamp };
    case "votes_changed":
    case "own_vote_changed":
      return { ...comment, ...votesAfter(event) };
  }
}

function fromEvent(event: Extract<KnownEvent, { type: "new_comment" }>, viewer: ViewerInfo | null): CommentTree {
  const {
    comment_id: id,
    discussion_id,
    parent_id,
    depth,
    text,
    author,
    upvotes = 0,
    downvotes = 0,
    edited_at,
    timestamp,
    deleted_at = null,
  } = event;
  const votes = { upvotes, downvotes, own_vote: 0 as const };
  const times = { created_at: timestamp, updated_at: timestamp, edited_at, deleted_at };
  const is_unread = isUnreadAtFirst(event, viewer);
  const mentions = mentionsAfter(event, []);
  return { id, discussion_id, parent_id, depth, text, author, mentions, ...votes, is_unread, ...times, replies: [] };
}

/** The trees with comment `id` changed, at any depth. Undefined if no tree has it, or only repeats it. */
function update(
  trees: CommentTree[],
  id: number,
  change: (comment: CommentTree) => CommentTree,
): CommentTree[] | undefined {
  for (const [at, tree] of trees.entries()) {
    if (tree.id === id && !tree.is_repeated) return replaceAt(trees, at, change(tree));
    const replies = update(tree.replies, id, change);
    if (replies) return replaceAt(trees, at, { ...tree, replies });
  }
  return undefined;
}

function insertSorted(trees: CommentTree[], comment: CommentTree): CommentTree[] {
  const at = trees.findIndex((other) => other.id >= comment.id);
  if (at < 0) return [...trees, comment];
  // The comment is already there, perhaps in a newer state. Later events state that again.
  return trees[at]?.id === comment.id ? trees : insertAt(trees, at, comment);
}

/** Inserts a root. If it belongs to a page that is not loaded, it will come with its own page. */
function insertRoot(pages: readonly CommentPage[], comment: CommentTree, eventId: number): readonly CommentPage[] {
  if (isEarlier(pages, comment.id, comment.id)) return pages;
  const at = pages.findIndex((page) => {
    const last = page.comments[page.comments.length - 1];
    return page.next_cursor === null || (last?.id ?? 0) >= comment.id;
  });
  const page = pages[at];
  if (page === undefined || eventId <= page.last_event_id) return pages;
  return replaceAt(pages, at, { ...page, comments: insertSorted(page.comments, comment), last_event_id: eventId });
}

/** The comments from the root down to comment `id`, as the page has them that does not repeat them, if it is loaded. */
function pathTo(pages: readonly CommentPage[], id: number): CommentTree[] | undefined {
  for (const page of pages) {
    const path = pathIn(page.comments, id);
    if (path) return path;
  }
  return hasEarlier(pages) ? pathIn(pages[0]?.comments ?? [], id, true) : undefined;
}

function pathIn(trees: readonly CommentTree[], id: number, orRepeated = false): CommentTree[] | undefined {
  for (const tree of trees) {
    const below = tree.id === id ? [] : pathIn(tree.replies, id, orRepeated);
    if (below && (below.length > 0 || orRepeated || !tree.is_repeated)) return [tree, ...below];
  }
  return undefined;
}

/** Whether pages before the first one are missing. */
function hasEarlier([first]: readonly CommentPage[]): boolean {
  return (first?.previous_cursor ?? null) !== null;
}

/** Whether the first page may begin below comment `id`, on a page that is missing, or below a comment that it hangs on. */
function startsBelow(pages: readonly CommentPage[], id: number | null): boolean {
  const root = pages[0]?.comments[0];
  return hasEarlier(pages) && id !== null && !!root?.is_repeated && root.id < id && id < oldestOf(root);
}

/** The lowest id in the tree that is not repeated. */
function oldestOf(tree: CommentTree): number {
  return Math.min(tree.is_repeated ? Infinity : tree.id, ...tree.replies.map(oldestOf));
}

/** Whether a comment below `rootId` comes before the first page. */
function isEarlier(pages: readonly CommentPage[], rootId: number, id: number): boolean {
  const first = pages[0]?.comments[0];
  if (!hasEarlier(pages) || first === undefined || rootId > first.id) return false;
  return rootId < first.id || id < oldestOf(first);
}

/** Inserts a reply below the last comment of `path`. If it belongs to a page that is not loaded, it will come with its own page. */
function insertReply(
  pages: readonly CommentPage[],
  path: readonly CommentTree[],
  comment: CommentTree,
  eventId: number,
): readonly CommentPage[] {
  const rootId = path[0]?.id ?? 0;
  if (isEarlier(pages, rootId, comment.id)) return pages;
  const at = pages.findIndex((page) => !endsBefore(page, rootId, comment.id));
  const page = pages[at];
  if (page === undefined || eventId <= page.last_event_id) return pages;
  return replaceAt(pages, at, { ...page, comments: insertBelow(page.comments, path, comment), last_event_id: eventId });
}

/** Whether comment `id` below `rootId` comes after the page. */
function endsBefore(page: CommentPage, rootId: number, id: number): boolean {
  if (page.next_cursor === null) return false;
  const last = page.comments[page.comments.length - 1];
  if (last?.id !== rootId) return (last?.id ?? 0) < rootId;
  return page.continues && newestOf(last) < id;
}

/** The highest id in the tree. What a page repeats is older than the replies below it. */
function newestOf(tree: CommentTree): number {
  return Math.max(tree.id, ...tree.replies.map(newestOf));
}

/** Inserts below the last comment of `path`. What the page lacks of the path is repeated there. */
function insertBelow(
  trees: CommentTree[],
  [above, ...path]: readonly CommentTree[],
  comment: CommentTree,
): CommentTree[] {
  if (above === undefined) return insertSorted(trees, comment);
  const at = trees.findIndex((tree) => tree.id === above.id);
  const tree = trees[at] ?? { ...above, text: null, mentions: [], is_repeated: true, replies: [] };
  const next = { ...tree, replies: insertBelow(tree.replies, path, comment) };
  return at < 0 ? insertSorted(trees, next) : replaceAt(trees, at, next);
}

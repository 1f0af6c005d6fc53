import type { KnownEvent } from "../events.js";
import type { CommentTree, Discussion, ViewerInfo } from "../generated/api.js";
import { countsAsUnread, mayBeMine, membershipIn } from "../viewer.js";

export type ReadStateChanged = Extract<KnownEvent, { type: "read_state_changed" }>;
type NewComment = Extract<KnownEvent, { type: "new_comment" }>;
type DeletedComment = Extract<KnownEvent, { type: "deleted_comment" }>;

/**
 * What is unread of a discussion. For a viewer who is no member all but the version are null (or undefined, from an older
 * server). For a member an `unread_count` of null means that events left it unknown, so that it must be fetched.
 */
export type UnreadFields = Pick<
  Discussion,
  "is_unread" | "unread_count" | "first_unread_comment_id" | "comment_version"
>;

/** Whether a member's count of unread comments is unknown. */
export function isUnknown(item: UnreadFields): boolean {
  return typeof item.is_unread === "boolean" && item.unread_count === null;
}

/** What is unread of a discussion that has just begun. */
export function unreadAtFirst(
  discussion: Pick<Discussion, "author" | "community_id" | "created_at" | "deleted_at">,
  viewer: ViewerInfo | null,
): UnreadFields {
  const { author, community_id } = discussion;
  const base = { first_unread_comment_id: null, comment_version: 0 };
  if (!isReader(viewer, community_id)) return { is_unread: null, unread_count: null, ...base };
  const is_unread = countsAsUnread(discussion, viewer, community_id);
  const isKnown = !is_unread || !mayBeMine(author, viewer, community_id);
  return { is_unread, unread_count: isKnown ? 0 : null, ...base };
}

/** Whether the viewer is a member there, of a server that has read states. */
function isReader(viewer: ViewerInfo | null, communityId: number): boolean {
  return membershipIn(viewer, communityId)?.joined_at !== undefined;
}

/**
 * What is unread of a discussion after an event of its comments or marks; undefined if that stays as it is. Every count is of one
 * `comment_version`, which says whether the count has the event's comment already.
 */
export function unreadAfter(
  item: UnreadFields & { community_id: number },
  event: NewComment | DeletedComment | ReadStateChanged,
  viewer: ViewerInfo | null,
): UnreadFields | undefined {
  const { comment_version: known } = item;
  if (typeof item.is_unread !== "boolean") {
    // The version is everyone's.
    const version = event.type === "read_state_changed" ? known : (event.comment_version ?? known);
    return version > known ? { ...fieldsOf(item), comment_version: version } : undefined;
  }
  if (event.type === "read_state_changed") {
    if (viewer?.user_id !== event.user_id) return undefined;
    if (event.comment_version >= known) return fieldsOf(event);
    // The event does not count all the comments that are counted here.
    return { ...unknown(item), is_unread: event.is_unread };
  }
  const version = event.comment_version ?? undefined;
  if (version !== undefined && version <= known) return undefined;
  const next = { ...fieldsOf(item), comment_version: version ?? known };
  const change = version === known + 1 && item.unread_count !== null ? counted(item, event, viewer) : undefined;
  return change ? { ...next, ...change } : unknown(next);
}

const fieldsOf = ({
  is_unread,
  unread_count,
  first_unread_comment_id,
  comment_version,
}: UnreadFields): UnreadFields => ({
  is_unread,
  unread_count,
  first_unread_comment_id,
  comment_version,
});

const unknown = (item: UnreadFields): UnreadFields => ({
  ...fieldsOf(item),
  unread_count: null,
  first_unread_comment_id: null,
});

type Count = Pick<UnreadFields, "unread_count" | "first_unread_comment_id">;

/** The count after the next comment or deletion. Undefined if it is unknown whether the comment is or was unread. */
function counted(
  item: UnreadFields & { community_id: number },
  event: NewComment | DeletedComment,
  viewer: ViewerInfo | null,
): Partial<Count> | undefined {
  const { community_id, unread_count, first_unread_comment_id: first } = item;
  const count = unread_count ?? 0;
  const { comment_id: id } = event;
  if (event.type === "new_comment") {
    if (!countsAsUnread(written(event), viewer, community_id)) return {};
    if (mayBeMine(event.author, viewer, community_id)) return undefined;
    return { unread_count: count + 1, first_unread_comment_id: Math.min(first ?? id, id) };
  }
  if (count === 0 || first === null || id < first) return {};
  if (count > 1) return undefined;
  return id === first ? { unread_count: 0, first_unread_comment_id: null } : {};
}

const written = ({ author, timestamp: created_at, deleted_at = null }: NewComment) => ({
  author,
  created_at,
  deleted_at,
});

/**
 * Whether a comment that has just arrived is unread; null if the viewer is no member. A pseudonym that may be the viewer's own
 * first one is taken for another's until the viewer knows it.
 */
export function isUnreadAtFirst(event: NewComment, viewer: ViewerInfo | null): boolean | null {
  if (!isReader(viewer, event.community_id)) return null;
  return countsAsUnread(written(event), viewer, event.community_id);
}

/** The comments after an event that says which of them are read. Those that stay as they are keep their references. */
export function markedBy(
  trees: CommentTree[],
  read: readonly (readonly [number, number])[],
  viewer: ViewerInfo | null,
): CommentTree[] {
  return mapUnread(trees, (tree) => {
    const isRead = isIn(read, tree.id);
    if (tree.is_unread !== isRead) return tree.is_unread;
    return !isRead && countsAsUnread(tree, viewer);
  });
}

/** The trees with another `is_unread` where `isUnread` says so, at every depth. */
export function mapUnread(trees: CommentTree[], isUnread: (tree: CommentTree) => boolean | null): CommentTree[] {
  let changed = false;
  const mapped = trees.map((tree) => {
    const is_unread = typeof tree.is_unread === "boolean" && !tree.is_repeated ? isUnread(tree) : tree.is_unread;
    const replies = mapUnread(tree.replies, isUnread);
    if (is_unread === tree.is_unread && replies === tree.replies) return tree;
    changed = true;
    return { ...tree, is_unread, replies };
  });
  return changed ? mapped : trees;
}

/** Whether an id is in one of the ascending ranges, whose both ends belong to them. */
export function isIn(ranges: readonly (readonly [number, number])[], id: number): boolean {
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const [from, to] = ranges[middle] ?? [0, 0];
    if (id < from) high = middle;
    else if (id > to) low = middle + 1;
    else return true;
  }
  return false;
}

import type { CommentTree, Discussion, Unread, ViewerInfo } from "../generated/api.js";
import { withDiscussion, withoutArticle } from "../reducers/unread-list.js";
import { isFollowUnknown } from "../reducers/follows.js";
import { isIn, isUnknown, mapUnread, type ReadStateChanged, type UnreadFields } from "../reducers/unread.js";
import { countsAsUnread } from "../viewer.js";

/**
 * Something of one discussion that the user marks as read or unread, and that the cache does not show yet.
 *
 * `waiting`: it is to be sent. `sending`: it is under way. `confirmed`: the server has it, and its event is on its way, if it
 * changed anything.
 */
export type Mark = ReadMark | UnreadMark;

interface Sent {
  /** Stays the same when events take a part of the mark away. */
  key: number;
  state: "waiting" | "sending" | "confirmed";
}

export interface ReadMark extends Sent {
  kind: "read";
  /** The discussion's own text. */
  discussion: boolean;
  ids: readonly number[];
  /** All comments up to this id; 0 for none. */
  upTo: number;
  /** How many unread comments `upTo` marks, besides `ids`. */
  upToCount: number;
}

export interface UnreadMark extends Sent {
  kind: "unread";
  /** All comments from this id on; 0 for all, and for the discussion's own text. */
  from: number;
  /** How many comments it makes unread, and the first of them. */
  count: number;
  first: number | null;
}

export const noMarks: readonly Mark[] = [];

/** Above every id. */
export const EVERYTHING = Number.MAX_SAFE_INTEGER;

/** The comments with the user's marks. Those that stay as they are keep their references. */
export function markedTrees(trees: CommentTree[], marks: readonly Mark[], viewer: ViewerInfo | null): CommentTree[] {
  if (marks.length === 0) return trees;
  const sets = marks.map((mark) => new Set(mark.kind === "read" ? mark.ids : []));
  return mapUnread(trees, (tree) => {
    let { is_unread } = tree;
    for (const [at, mark] of marks.entries()) {
      if (mark.kind === "read") is_unread = is_unread && tree.id > mark.upTo && !sets[at]?.has(tree.id);
      else if (tree.id >= mark.from) is_unread = is_unread || countsAsUnread(tree, viewer);
    }
    return is_unread;
  });
}

/** What is unread of a discussion with the user's marks; the same reference if they change nothing. */
export function markedFields<T extends UnreadFields>(item: T, marks: readonly Mark[], isReadable: boolean): T {
  if (marks.length === 0 || typeof item.is_unread !== "boolean") return item;
  let { is_unread, unread_count: count, first_unread_comment_id: first } = item;
  for (const mark of marks) {
    if (mark.kind === "read") {
      if (mark.discussion) is_unread = false;
      if (count !== null) count = Math.max(0, count - mark.ids.length - mark.upToCount);
      if (count === 0) first = null;
    } else {
      if (mark.from === 0) is_unread = isReadable;
      if (count !== null) count += mark.count;
      if (mark.first !== null) first = Math.min(first ?? mark.first, mark.first);
    }
  }
  const isSame = is_unread === item.is_unread && count === item.unread_count && first === item.first_unread_comment_id;
  return isSame ? item : { ...item, is_unread, unread_count: count, first_unread_comment_id: first };
}

/** What was last known of a discussion, for when events leave it unknown. */
export type LastKnown = Map<
  number,
  Pick<UnreadFields, "unread_count" | "first_unread_comment_id"> & Pick<Discussion, "is_followed">
>;

/** A discussion with the user's marks. While something is unknown, what was last known stands for it. */
export function markedDiscussion(
  one: Discussion,
  marks: readonly Mark[],
  viewer: ViewerInfo | null,
  lastKnown: LastKnown,
): Discussion {
  const { id } = one;
  const last = lastKnown.get(id);
  const { unread_count, first_unread_comment_id } = (isUnknown(one) && last) || one;
  const { is_followed } = (isFollowUnknown(one) && last) || one;
  const now = { unread_count, first_unread_comment_id, is_followed };
  lastKnown.set(id, now);
  const known = isUnknown(one) || isFollowUnknown(one) ? { ...one, ...now } : one;
  return markedFields(known, marks, countsAsUnread(one, viewer, one.community_id));
}

/** What is unread, with the user's marks. */
export function markedUnread(
  list: Unread,
  marks: ReadonlyMap<number, readonly Mark[]>,
  articles: readonly { articleId: number; communityId: number }[],
): Unread {
  let marked = list;
  for (const one of list.discussions) {
    const ofOne = marks.get(one.id);
    if (ofOne) marked = withDiscussion(marked, one.id, markedFields(one, ofOne, one.is_unread)) ?? marked;
  }
  for (const { articleId, communityId } of articles) marked = withoutArticle(marked, articleId, communityId);
  return marked;
}

/** The marks that the cache does not show yet after the event. */
export function marksAfter(marks: readonly Mark[], event: ReadStateChanged): readonly Mark[] {
  const { first_unread_comment_id: first, read_comments: read } = event;
  const rest: Mark[] = [];
  // After a mark as unread, only an event that shows it can show what was read later.
  let isOpen = true;
  for (const mark of marks) {
    const isSent = mark.state !== "waiting";
    if (!isOpen) rest.push(mark);
    else if (mark.kind === "read") {
      // An event without ranges tells of what the server has, but not of what.
      const ids = read ? mark.ids.filter((id) => !isIn(read, id)) : mark.state === "confirmed" ? [] : mark.ids;
      // Something may have arrived since that is not marked.
      const isOver = mark.upTo === EVERYTHING && mark.state === "confirmed";
      const isUpToShown = first === null || first > mark.upTo || isOver;
      const upTo = isUpToShown ? { upTo: 0, upToCount: 0 } : {};
      const next = { ...mark, ids, discussion: mark.discussion && event.is_unread, ...upTo };
      if (!isEmpty(next)) rest.push(next);
    } else if (!isSent || (read !== null && (read[read.length - 1]?.[1] ?? 0) >= Math.max(1, mark.from))) {
      isOpen = false;
      rest.push(mark);
    }
  }
  const isSame = rest.length === marks.length && rest.every((mark, at) => sameMark(mark, marks[at]));
  return isSame ? marks : rest;
}

function sameMark(a: Mark, b: Mark | undefined): boolean {
  if (a === b) return true;
  if (a.kind !== "read" || b?.kind !== "read") return false;
  return a.ids.length === b.ids.length && a.discussion === b.discussion && a.upTo === b.upTo;
}

function isEmpty(mark: ReadMark): boolean {
  return mark.ids.length === 0 && !mark.discussion && mark.upTo === 0;
}

/** The marks with one more. Marks that wait are put together. */
export function withMark(marks: readonly Mark[], mark: Mark): readonly Mark[] {
  const last = marks[marks.length - 1];
  if (mark.kind === "read") {
    if (last?.kind !== "read" || last.state !== "waiting") return [...marks, mark];
    return [...marks.slice(0, -1), both(last, mark)];
  }
  // What is to be unread need not be sent as read first.
  const rest = marks.flatMap<Mark>((one) => {
    if (one.state !== "waiting") return one;
    if (one.kind === "unread") return one.from < mark.from ? one : [];
    const ids = one.ids.filter((id) => id < mark.from);
    const cut = {
      ...one,
      ids,
      upTo: Math.min(one.upTo, Math.max(0, mark.from - 1)),
      discussion: one.discussion && mark.from > 0,
    };
    return isEmpty(cut) ? [] : cut;
  });
  return [...rest, mark];
}

/** Two marks that wait, as one. */
export function both(a: ReadMark, b: ReadMark): ReadMark {
  const ids = [...new Set([...a.ids, ...b.ids])];
  const [upTo, upToCount] = [Math.max(a.upTo, b.upTo), a.upToCount + b.upToCount];
  return { ...b, ids, discussion: a.discussion || b.discussion, upTo, upToCount };
}

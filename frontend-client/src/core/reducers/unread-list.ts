import { insertAt, replaceAt, type KnownEvent } from "../events.js";
import type { Unread, UnreadDiscussion } from "../generated/api.js";

/** Which of the unread discussions are listed and counted. Undefined: all. */
export interface UnreadScope {
  communityId?: number | undefined;
  articleId?: number | undefined;
  /** Only what the user follows. */
  followed?: boolean | undefined;
}

/** What is known of a discussion. `undefined` if nothing is, or not its count. Null if nothing of it can be unread for the viewer. */
export type DiscussionLookup = (discussionId: number) => UnreadDiscussion | null | undefined;

const types = [
  "new_discussion",
  "updated_discussion",
  "deleted_discussion",
  "new_comment",
  "deleted_comment",
  "read_state_changed",
  "follow_changed",
] as const;
type UnreadEvent = Extract<KnownEvent, { type: (typeof types)[number] }>;

function isOfScope(event: KnownEvent, { communityId, articleId, followed }: UnreadScope): event is UnreadEvent {
  if (!(types as readonly string[]).includes(event.type)) return false;
  if (event.type === "follow_changed" && !followed) return false;
  const { community_id, article_id } = event as UnreadEvent;
  return (communityId ?? community_id) === community_id && (articleId ?? article_id) === article_id;
}

/** As many events may be folded again before the list gets a newer cursor. */
const LAG = 250;

/**
 * Folds events into the list of what is unread. `lookup` knows the discussions of the cached lists, which are current. Returns
 * undefined if the list must be fetched again.
 */
export function foldUnread(
  list: Unread,
  scope: UnreadScope,
  events: readonly KnownEvent[],
  userId: number,
  lookup: DiscussionLookup,
): Unread | undefined {
  const touched = new Map<number, UnreadEvent[]>();
  let head = list.last_event_id;
  for (const event of events) {
    if (event.event_id <= list.last_event_id) continue;
    head = Math.max(head, event.event_id);
    if (!isOfScope(event, scope)) continue;
    // What the user says about an article changes which of its discussions are followed.
    if (event.discussion_id === null) return undefined;
    touched.set(event.discussion_id, [...(touched.get(event.discussion_id) ?? []), event]);
  }
  let folded = list;
  for (const [id, ofDiscussion] of touched) {
    const known = lookup(id);
    const next =
      known === undefined
        ? ofDiscussion.reduce<Unread | undefined>((all, event) => all && foldAlone(all, id, event, userId), folded)
        : withDiscussion(folded, id, known);
    if (next === undefined) return undefined;
    folded = next;
  }
  // Events that change nothing make no other object, unless they are many.
  const isNews = folded !== list || head - list.last_event_id > LAG;
  return isNews ? { ...folded, last_event_id: head } : list;
}

/** Folds an event of a discussion that no cached list has. */
function foldAlone(list: Unread, id: number, event: UnreadEvent, userId: number): Unread | undefined {
  const listed = list.discussions.find((one) => one.id === id);
  switch (event.type) {
    case "deleted_discussion":
      return withDiscussion(list, id, null);
    case "updated_discussion":
      return listed ? withDiscussion(list, id, { ...listed, topic: event.topic ?? listed.topic }) : list;
    case "read_state_changed": {
      const { is_unread, unread_count, first_unread_comment_id, comment_version } = event;
      if (listed && comment_version < listed.comment_version) return undefined;
      if (!is_unread && unread_count === 0) return withDiscussion(list, id, null);
      const now = { is_unread, unread_count, first_unread_comment_id, comment_version };
      return listed && withDiscussion(list, id, { ...listed, ...now });
    }
    case "new_discussion":
    case "new_comment":
      // One's own things are read, and change nothing where nothing is unread.
      return event.author?.id === userId && !listed ? list : undefined;
    case "deleted_comment":
      return undefined;
    case "follow_changed":
      return event.is_followed && !listed
        ? undefined
        : withDiscussion(list, id, event.is_followed && listed ? listed : null);
  }
}

/** The list with what a discussion has unread now, and the sums with it. Undefined if the sums cannot be known. */
export function withDiscussion(list: Unread, id: number, now: UnreadDiscussion | null): Unread | undefined {
  const at = list.discussions.findIndex((one) => one.id === id);
  const before = list.discussions[at];
  const next = now && (now.is_unread || now.unread_count > 0) ? now : null;
  const last = list.discussions[list.discussions.length - 1];
  // It may be on a later page, and is in the sums then.
  if (!before && list.next_cursor !== null && id < (last?.id ?? Infinity)) return undefined;
  if (before === next || (!before && !next) || (before && next && isSame(before, next))) return list;
  const place = next ?? before;
  if (!place) return list;
  const change = {
    discussions: Number(next !== null) - Number(before !== undefined),
    comments: (next?.unread_count ?? 0) - (before?.unread_count ?? 0),
  };
  const { community_id, article_id } = place;
  const articles = add(list.articles, { community_id, article_id, ...change });
  const communities = add(list.communities, { community_id, ...change });
  const older = list.discussions.findIndex((one) => one.id < id);
  const discussions = before
    ? next
      ? replaceAt(list.discussions, at, next)
      : list.discussions.filter((one) => one !== before)
    : insertAt(list.discussions, older < 0 ? list.discussions.length : older, place);
  return { ...list, articles, communities, discussions };
}

/** The list with nothing unread on an article of a community. */
export function withoutArticle(list: Unread, articleId: number, communityId: number): Unread {
  const isOf = (one: { article_id: number; community_id: number }) =>
    one.article_id === articleId && one.community_id === communityId;
  const article = list.articles.find(isOf);
  if (!article) return list;
  const change = { community_id: communityId, discussions: -article.discussions, comments: -article.comments };
  return {
    ...list,
    articles: list.articles.filter((one) => !isOf(one)),
    communities: add(list.communities, change),
    discussions: list.discussions.filter((one) => !isOf(one)),
  };
}

function isSame(a: UnreadDiscussion, b: UnreadDiscussion): boolean {
  return (Object.keys(a) as (keyof UnreadDiscussion)[]).every((name) => a[name] === b[name]);
}

interface Sums {
  community_id: number;
  article_id?: number;
  discussions: number;
  comments: number;
}

/** The sums with a change of one of them. Those with nothing unread are left out. */
function add<T extends Sums>(sums: readonly T[], change: T): T[] {
  const isOf = (one: T) => one.community_id === change.community_id && one.article_id === change.article_id;
  const before = sums.find(isOf);
  const discussions = (before?.discussions ?? 0) + change.discussions;
  const comments = (before?.comments ?? 0) + change.comments;
  const next = { ...change, discussions: Math.max(0, discussions), comments: Math.max(0, comments) };
  const others = sums.filter((one) => !isOf(one));
  if (discussions <= 0) return others;
  const after = others.findIndex(
    (one) =>
      one.community_id > change.community_id ||
      (one.community_id === change.community_id && (one.article_id ?? 0) > (change.article_id ?? 0)),
  );
  return insertAt(others, after < 0 ? others.length : after, next);
}

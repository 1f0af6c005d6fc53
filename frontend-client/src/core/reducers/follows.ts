import { type KnownEvent } from "../events.js";
import type { Discussion, ViewerInfo } from "../generated/api.js";
import type { Follow, Follows } from "../wire.js";
import { isMine, mayBeMine, membershipIn } from "../viewer.js";

export type FollowChanged = Extract<KnownEvent, { type: "follow_changed" }>;
type NewDiscussion = Extract<KnownEvent, { type: "new_discussion" }>;
type Written = Extract<KnownEvent, { type: "new_comment" | "new_discussion" }>;

/**
 * Whether the viewer follows a discussion. For a viewer who is no member both are null (or undefined, from an older server). For a
 * member an `is_followed` of null means that events left it unknown, so that it must be fetched.
 */
export type FollowFields = Pick<Discussion, "follow_level" | "is_followed">;

/** What holds for an article of a community. */
export type ArticleFollow = Pick<Follow, "level" | "is_default" | "is_followed">;

/** What is known of an article; undefined if nothing is. */
export type ArticleFollowLookup = (articleId: number, communityId: number) => ArticleFollow | undefined;

/** Whether a member may follow the discussion or not, as far as events say. */
export function isFollowUnknown({ follow_level, is_followed }: FollowFields): boolean {
  return typeof follow_level === "string" && is_followed === null;
}

/** What holds for a discussion after the user said something about it or its article; undefined if that stays as it is. */
export function followAfter(
  item: FollowFields & Pick<Discussion, "author" | "community_id">,
  event: FollowChanged,
  viewer: ViewerInfo | null,
): FollowFields | undefined {
  if (typeof item.follow_level !== "string" || viewer?.user_id !== event.user_id) return undefined;
  if (event.discussion_id !== null)
    return { follow_level: event.is_default ? "default" : event.level, is_followed: event.is_followed };
  if (item.follow_level !== "default") return undefined;
  if (!event.is_default) return { follow_level: "default", is_followed: event.level === "follow" };
  // Nothing holds for the article. Whoever wrote in the discussion follows it, and the event does not say who did.
  const is_followed = event.is_followed || isMine(item.author, viewer, item.community_id) ? true : null;
  return { follow_level: "default", is_followed };
}

/** What holds for a discussion after a new comment: whoever writes in it follows it, unless they said otherwise. */
export function followAfterComment(
  item: FollowFields & Pick<Discussion, "article_id" | "community_id">,
  { author }: Pick<Written, "author">,
  viewer: ViewerInfo | null,
  articleOf?: ArticleFollowLookup,
): FollowFields | undefined {
  if (item.follow_level !== "default" || item.is_followed === true) return undefined;
  if (!mayBeMine(author, viewer, item.community_id)) return undefined;
  const article = articleOf?.(item.article_id, item.community_id);
  if (article && !article.is_default)
    return item.is_followed === null ? { ...item, is_followed: article.level === "follow" } : undefined;
  const isKnown = article && isMine(author, viewer, item.community_id);
  return { follow_level: "default", is_followed: isKnown ? true : null };
}

/** What holds for a discussion that has just begun. `others` are discussions of the same article. */
export function followAtFirst(
  event: Pick<NewDiscussion, "author" | "article_id" | "community_id">,
  viewer: ViewerInfo | null,
  others: readonly Discussion[],
  articleOf?: ArticleFollowLookup,
): FollowFields {
  const { author, article_id, community_id } = event;
  const membership = membershipIn(viewer, community_id);
  const siblings = others.filter((one) => one.community_id === community_id && one.article_id === article_id);
  const isOlderServer = siblings.some((one) => one.follow_level === undefined);
  if (!membership || isOlderServer) return { follow_level: null, is_followed: null };
  const known = (is_followed: boolean | null) => ({ follow_level: "default" as const, is_followed });
  const mine = isMine(author, viewer, community_id);
  const unclear = !mine && mayBeMine(author, viewer, community_id);
  const article = articleOf?.(article_id, community_id);
  if (article && !article.is_default) return known(article.level === "follow");
  if (article) return known(mine || article.is_followed || (unclear ? null : false));
  const unsaid = siblings.filter((one) => one.follow_level === "default");
  // If nothing was said about the article, or it is muted, others' discussions are not followed.
  if (unsaid.some((one) => one.is_followed === false)) return known(mine || unclear ? null : false);
  const isNotMuted = unsaid.some((one) => one.is_followed === true);
  return known(isNotMuted && (mine || membership.role === "admin") ? true : null);
}

/** The article of a list of follows. */
export interface FollowScope {
  articleId: number;
  communityId: number;
}

/** The article's own follow. Undefined if the list may have it on a page that was not read. */
export function articleFollow(list: Follows): ArticleFollow | undefined {
  const own = list.follows.find((one) => one.discussion_id === null);
  return own ?? (list.next_cursor === null ? { level: "default", is_default: true, is_followed: false } : undefined);
}

/** As many events may be folded again before the list gets a newer cursor. */
const LAG = 250;

/**
 * Folds events into the list of what the user follows of one article. `isOwn` says whether the user wrote it. After the article is
 * muted no more, `isComplete` is false: the events do not say in which discussions the user wrote.
 */
export function foldFollows(
  list: Follows,
  scope: FollowScope,
  events: readonly KnownEvent[],
  userId: number,
  isOwn: (event: Written) => boolean,
): { list: Follows; isComplete: boolean } {
  let { follows } = list;
  let head = list.last_event_id;
  let isComplete = true;
  for (const event of events) {
    if (event.event_id <= list.last_event_id) continue;
    head = Math.max(head, event.event_id);
    if (event.type === "follow_changed") {
      if (event.user_id !== userId || !isOf(event, scope)) continue;
      if (event.discussion_id === null && isMuted(follows) && event.level !== "mute") isComplete = false;
      follows = withFollow(follows, event);
    } else if ((event.type === "new_comment" || event.type === "new_discussion") && isOf(event, scope)) {
      if (isOwn(event)) follows = withImplied(follows, event);
    }
  }
  const isNews = follows !== list.follows || head - list.last_event_id > LAG;
  return { list: isNews ? { ...list, follows, last_event_id: head } : list, isComplete };
}

function isOf(event: { article_id: number; community_id: number }, { articleId, communityId }: FollowScope): boolean {
  return event.article_id === articleId && event.community_id === communityId;
}

function withFollow(follows: Follow[], event: FollowChanged): Follow[] {
  const { community_id, article_id, discussion_id, level, is_default, is_followed } = event;
  const others = follows.filter((one) => one.discussion_id !== discussion_id);
  const next = { community_id, article_id, discussion_id, level, is_default, is_followed };
  const all = level === "default" ? others : sorted([...others, next]);
  // Where the article is muted, taking part in a discussion is not enough to follow it.
  return discussion_id === null && level === "mute" ? all.filter((one) => !one.is_default) : all;
}

function isMuted(follows: readonly Follow[]): boolean {
  return follows.some((one) => one.discussion_id === null && one.level === "mute");
}

function withImplied(follows: Follow[], { community_id, article_id, discussion_id }: Written): Follow[] {
  if (isMuted(follows) || follows.some((one) => one.discussion_id === discussion_id)) return follows;
  const place = { community_id, article_id, discussion_id };
  return sorted([...follows, { ...place, level: "follow", is_default: true, is_followed: true }]);
}

/** The article first, then the discussions. */
function sorted(follows: Follow[]): Follow[] {
  return follows.sort((a, b) => (a.discussion_id ?? 0) - (b.discussion_id ?? 0));
}

import { mapChanged, type KnownEvent } from "../events.js";
import type { Author, Discussion, ViewerInfo } from "../generated/api.js";
import { isMine, mayBeMine, membershipIn } from "../viewer.js";
import type { Follow, Follows } from "../wire.js";

export type FollowChanged = Extract<KnownEvent, { type: "follow_changed" }>;
type NewDiscussion = Extract<KnownEvent, { type: "new_discussion" }>;
type Written = Extract<KnownEvent, { type: "new_comment" | "new_discussion" }>;

/**
 * Whether the viewer follows a discussion. For a viewer who is no member all are null (or undefined, from an older server). For a
 * member a `has_written` of null means that events left it unknown, and with it maybe `is_followed`, so that it must be fetched.
 */
export type FollowFields = Pick<Discussion, "follow_level" | "has_written" | "is_followed">;

/** What holds for an article of a community. */
export type ArticleFollow = Pick<Follow, "level" | "is_default" | "is_followed">;

/** Whether a member may follow the discussion or not, as far as events say. */
export function isFollowUnknown({ follow_level, is_followed }: FollowFields): boolean {
  return typeof follow_level === "string" && is_followed === null;
}

/** Works out `is_followed`: what was said about the discussion counts, else about its article, else whether the viewer wrote in it. */
export function withOutcome(fields: FollowFields, viewer: ViewerInfo | null, communityId: number): FollowFields {
  const { follow_level, has_written } = fields;
  if (typeof follow_level !== "string") return fields;
  const article = membershipIn(viewer, communityId)?.follow_level ?? "default";
  const level = follow_level === "default" ? article : follow_level;
  return { follow_level, has_written, is_followed: level === "default" ? has_written : level === "follow" };
}

/** The viewer with what they say about an article. It is the article of all that the viewer is of. */
export function viewerAfter(
  viewer: ViewerInfo | null,
  { user_id, community_id, level }: Pick<FollowChanged, "user_id" | "community_id" | "level">,
): ViewerInfo | null {
  if (viewer?.user_id !== user_id) return viewer;
  const memberships = mapChanged(viewer.memberships, (one) =>
    one.community_id === community_id && one.follow_level !== level ? { ...one, follow_level: level } : one,
  );
  return memberships === viewer.memberships ? viewer : { ...viewer, memberships };
}

/** The discussion after the viewer said something about it or its article. */
export function followAfter(item: Discussion, event: FollowChanged, viewer: ViewerInfo | null): Discussion {
  if (viewer?.user_id !== event.user_id || typeof item.follow_level !== "string") return item;
  const said = event.is_default ? "default" : event.level;
  const follow_level = event.discussion_id === null ? item.follow_level : said;
  const next = withOutcome({ ...fieldsOf(item), follow_level }, viewer, item.community_id);
  const isSame = next.follow_level === item.follow_level && next.is_followed === item.is_followed;
  return isSame ? item : { ...item, ...next };
}

const fieldsOf = ({ follow_level, has_written, is_followed }: FollowFields): FollowFields => ({
  follow_level,
  has_written,
  is_followed,
});

/** Whether the viewer is the author. Null if it is not known, as of what was deleted since. */
function wrote(author: Author | null, viewer: ViewerInfo | null, communityId: number): boolean | null {
  if (isMine(author, viewer, communityId)) return true;
  return author === null || mayBeMine(author, viewer, communityId) ? null : false;
}

/** What holds for a discussion after a new comment in it; undefined if that stays as it is. */
export function followAfterComment(
  item: FollowFields & Pick<Discussion, "community_id">,
  { author }: Pick<Written, "author">,
  viewer: ViewerInfo | null,
): FollowFields | undefined {
  if (typeof item.follow_level !== "string" || item.has_written === true) return undefined;
  const has_written = wrote(author, viewer, item.community_id);
  if (has_written === false) return undefined;
  return withOutcome({ ...fieldsOf(item), has_written }, viewer, item.community_id);
}

/** What holds for a discussion that has just begun. */
export function followAtFirst(
  { author, community_id }: Pick<NewDiscussion, "author" | "community_id">,
  viewer: ViewerInfo | null,
): FollowFields {
  const isReader = membershipIn(viewer, community_id)?.follow_level !== undefined;
  if (!isReader) return { follow_level: null, has_written: null, is_followed: null };
  const has_written = wrote(author, viewer, community_id);
  return withOutcome({ follow_level: "default", has_written, is_followed: null }, viewer, community_id);
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

import { insertAt, mapChanged, mentionsAfter, renamed, replaceAt, votesAfter, type KnownEvent } from "../events.js";
import type { Discussion, DiscussionPage, ViewerInfo } from "../generated/api.js";
import { followAfter, followAfterComment, followAtFirst, viewerAfter, type FollowChanged } from "./follows.js";
import { unreadAfter, unreadAtFirst } from "./unread.js";
import { closesTo } from "./visibility.js";

/** The discussions that a list shows. */
export interface DiscussionScope {
  articleId: number;
  /** Undefined: all communities that the viewer may read. */
  communityId?: number | undefined;
}

const types = [
  "new_discussion",
  "updated_discussion",
  "deleted_discussion",
  "new_comment",
  "updated_comment",
  "deleted_comment",
  "votes_changed",
  "own_vote_changed",
  "read_state_changed",
  "follow_changed",
] as const;
type DiscussionEvent = Extract<KnownEvent, { type: (typeof types)[number] }>;

/** Whether the event can change a list of this scope. */
export function concernsDiscussions(scope: DiscussionScope, event: KnownEvent): boolean {
  if (scope.communityId !== undefined && scope.communityId !== event.community_id) return false;
  if (event.type === "author_changed" || event.type === "community_changed") return true;
  return isOfArticle(event, scope.articleId);
}

function isOfArticle(event: KnownEvent, articleId: number): event is DiscussionEvent {
  if (!(types as readonly string[]).includes(event.type)) return false;
  const one = event as DiscussionEvent;
  // Votes on a comment are none of the list's business.
  const isOfComment = (one.type === "votes_changed" || one.type === "own_vote_changed") && one.comment_id !== null;
  return one.article_id === articleId && !isOfComment;
}

/**
 * Folds one event into cached pages (newest discussion first). Events state how things are now, so folding an event twice
 * changes nothing. Each page skips the events up to its own `last_event_id`.
 */
export function foldDiscussions(
  pages: readonly DiscussionPage[],
  scope: DiscussionScope,
  event: KnownEvent,
): readonly DiscussionPage[] {
  if (!concernsDiscussions(scope, event)) return pages;
  if (event.type === "author_changed") {
    return mapChanged(pages, (page) =>
      patch(page, event.event_id, (discussions) =>
        mapChanged(discussions, (one) => (one.community_id === event.community_id ? renamed(one, event) : one)),
      ),
    );
  }
  if (event.type === "community_changed") return mapChanged(pages, (page) => foldDiscussion(page, event));
  if (!isOfArticle(event, scope.articleId)) return pages;
  const id = event.discussion_id;
  if (event.type === "follow_changed" && id === null) return mapChanged(pages, (page) => followIn(page, event));
  const at = pages.findIndex((page) => page.discussions.some((discussion) => discussion.id === id));
  if (at < 0) return event.type === "new_discussion" ? insert(pages, event) : pages;
  return patchAt(pages, at, event.event_id, (discussions, viewer) =>
    mapChanged(discussions, (one) => (one.id === id ? applyToDiscussion(one, event, viewer) : one)),
  );
}

/** The page after its viewer said something about its article. */
function followIn(page: DiscussionPage, event: FollowChanged): DiscussionPage {
  if (event.event_id <= page.last_event_id) return page;
  const viewer = viewerAfter(page.viewer, event);
  const discussions = mapChanged(page.discussions, (one) => followAfter(one, event, viewer));
  if (viewer === page.viewer && discussions === page.discussions) return page;
  return { ...page, viewer, discussions, last_event_id: event.event_id };
}

/** Folds one event into a discussion that is cached in a page of its own. */
export function foldDiscussion(page: DiscussionPage, event: KnownEvent): DiscussionPage {
  if (event.type === "follow_changed" && event.discussion_id === null)
    return page.discussions[0]?.article_id === event.article_id ? followIn(page, event) : page;
  return patch(page, event.event_id, (discussions, viewer) => {
    if (event.type === "community_changed") {
      if (!closesTo(viewer, event)) return discussions;
      const rest = discussions.filter((one) => one.community_id !== event.community_id);
      return rest.length === discussions.length ? discussions : rest;
    }
    return mapChanged(discussions, (one) => {
      if (event.type === "author_changed") return one.community_id === event.community_id ? renamed(one, event) : one;
      const isOf = isOfArticle(event, one.article_id) && event.discussion_id === one.id;
      return isOf ? applyToDiscussion(one, event, viewer) : one;
    });
  });
}

/** What a tombstone shows. */
const nothing = { topic: null, text: null, author: null, resolved_by: null, mentions: [] };

/** Nothing of its own is left to read. An older server says nothing of it. */
const gone = ({ is_unread }: Discussion) => ({ ...nothing, ...(is_unread && { is_unread: false }) });

function applyToDiscussion(discussion: Discussion, event: DiscussionEvent, viewer: ViewerInfo | null): Discussion {
  switch (event.type) {
    case "updated_discussion": {
      // Either may be newer: the discussion, whose deletion is on its way, or the event, which was redacted.
      const deleted_at = discussion.deleted_at ?? event.deleted_at ?? null;
      const { topic, text, author, resolved_by } = event;
      const mentions = mentionsAfter(event, discussion.mentions);
      const words = deleted_at === null ? { topic, text, author, resolved_by, mentions } : gone(discussion);
      // An older server sends no votes.
      const { upvotes = discussion.upvotes, downvotes = discussion.downvotes } = event;
      const { is_resolved, comment_count, edited_at, resolved_at, timestamp: updated_at } = event;
      const times = { updated_at, edited_at, resolved_at, deleted_at };
      return { ...discussion, ...words, is_resolved, comment_count, upvotes, downvotes, ...times };
    }
    case "deleted_discussion":
      return { ...discussion, ...gone(discussion), deleted_at: event.timestamp };
    case "new_comment": {
      const { comment_count } = event;
      const follow = followAfterComment(discussion, event, viewer);
      return { ...discussion, comment_count, ...unreadAfter(discussion, event, viewer), ...follow };
    }
    case "deleted_comment":
      return { ...discussion, comment_count: event.comment_count, ...unreadAfter(discussion, event, viewer) };
    case "read_state_changed": {
      const unread = unreadAfter(discussion, event, viewer);
      return unread ? { ...discussion, ...unread } : discussion;
    }
    case "follow_changed":
      return followAfter(discussion, event, viewer);
    case "votes_changed":
    case "own_vote_changed":
      return { ...discussion, ...votesAfter(event) };
    default:
      return discussion;
  }
}

type NewDiscussion = Extract<KnownEvent, { type: "new_discussion" }>;

function fromEvent(event: NewDiscussion, viewer: ViewerInfo | null): Discussion {
  const {
    discussion_id: id,
    community_id,
    article_id,
    topic,
    text,
    author,
    is_resolved,
    comment_count,
    upvotes = 0,
    downvotes = 0,
    edited_at,
    resolved_at,
    resolved_by,
    timestamp,
    deleted_at = null,
  } = event;
  const votes = { upvotes, downvotes, own_vote: 0 as const };
  const times = { created_at: timestamp, updated_at: timestamp, edited_at, resolved_at, resolved_by, deleted_at };
  const unread = unreadAtFirst({ author, community_id, created_at: timestamp, deleted_at }, viewer);
  return {
    id,
    community_id,
    article_id,
    topic,
    text,
    author,
    is_resolved,
    comment_count,
    ...votes,
    ...unread,
    ...times,
    mentions: mentionsAfter(event, []),
    ...followAtFirst(event, viewer),
  };
}

/** Inserts by id. A new discussion need not have the highest id: ids follow the inserts, and events follow the commits. */
function insert(pages: readonly DiscussionPage[], event: NewDiscussion): readonly DiscussionPage[] {
  const id = event.discussion_id;
  const at = pages.findIndex((page) => {
    const last = page.discussions[page.discussions.length - 1];
    return page.next_cursor === null || (last?.id ?? 0) < id;
  });
  return patchAt(pages, at, event.event_id, (discussions, viewer) => {
    const before = discussions.findIndex((other) => other.id < id);
    return insertAt(discussions, before < 0 ? discussions.length : before, fromEvent(event, viewer));
  });
}

type Change = (discussions: Discussion[], viewer: ViewerInfo | null) => Discussion[];

function patchAt(
  pages: readonly DiscussionPage[],
  at: number,
  eventId: number,
  change: Change,
): readonly DiscussionPage[] {
  const page = pages[at];
  if (page === undefined) return pages;
  const patched = patch(page, eventId, change);
  return patched === page ? pages : replaceAt(pages, at, patched);
}

function patch(page: DiscussionPage, eventId: number, change: Change): DiscussionPage {
  if (eventId <= page.last_event_id) return page;
  const discussions = change(page.discussions, page.viewer);
  return discussions === page.discussions ? page : { ...page, discussions, last_event_id: eventId };
}

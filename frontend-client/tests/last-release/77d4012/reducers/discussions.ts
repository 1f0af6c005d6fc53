import { insertAt, mapChanged, renamed, replaceAt, type KnownEvent } from "../events.js";
import type { Discussion, DiscussionPage } from "../generated/api.js";

/** Which discussions a list shows. */
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
] as const;
type DiscussionEvent = Extract<KnownEvent, { type: (typeof types)[number] }>;

/** Whether the event can change a list of this scope. */
export function concernsDiscussions(scope: DiscussionScope, event: KnownEvent): boolean {
  if (scope.communityId !== undefined && scope.communityId !== event.community_id) return false;
  return event.type === "author_changed" || isOfArticle(event, scope.articleId);
}

function isOfArticle(event: KnownEvent, articleId: number): event is DiscussionEvent {
  return (types as readonly string[]).includes(event.type) && (event as DiscussionEvent).article_id === articleId;
}

/**
 * Folds one event into cached pages (newest discussion first). Events say what is, so one that a page already shows
 * changes nothing; each page skips what its own `last_event_id` covers.
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
  if (!isOfArticle(event, scope.articleId)) return pages;
  const id = event.discussion_id;
  const at = pages.findIndex((page) => page.discussions.some((discussion) => discussion.id === id));
  if (at < 0) return event.type === "new_discussion" ? insert(pages, fromEvent(event), event.event_id) : pages;
  return patchAt(pages, at, event.event_id, (discussions) =>
    mapChanged(discussions, (discussion) => (discussion.id === id ? applyToDiscussion(discussion, event) : discussion)),
  );
}

/** Folds one event into a discussion that is cached by itself, in a page of its own. */
export function foldDiscussion(page: DiscussionPage, event: KnownEvent): DiscussionPage {
  return patch(page, event.event_id, (discussions) =>
    mapChanged(discussions, (one) => {
      if (event.type === "author_changed") return one.community_id === event.community_id ? renamed(one, event) : one;
      return isOfArticle(event, one.article_id) && event.discussion_id === one.id ? applyToDiscussion(one, event) : one;
    }),
  );
}

/** One discussion after an event about it. */
function applyToDiscussion(discussion: Discussion, event: DiscussionEvent): Discussion {
  switch (event.type) {
    case "updated_discussion": {
      if (discussion.deleted_at !== null) return discussion;
      const { topic, text, author, is_resolved, comment_count } = event;
      return { ...discussion, topic, text, author, is_resolved, comment_count, updated_at: event.timestamp };
    }
    case "deleted_discussion":
      return { ...discussion, topic: null, text: null, author: null, deleted_at: event.timestamp };
    case "new_comment":
    case "deleted_comment":
      return { ...discussion, comment_count: event.comment_count };
    default:
      return discussion;
  }
}

function fromEvent(event: Extract<KnownEvent, { type: "new_discussion" }>): Discussion {
  const {
    discussion_id: id,
    community_id,
    article_id,
    topic,
    text,
    author,
    is_resolved,
    comment_count,
    timestamp,
  } = event;
  const times = { created_at: timestamp, updated_at: timestamp, deleted_at: null };
  return { id, community_id, article_id, topic, text, author, is_resolved, comment_count, ...times };
}

/** Ids are given at insert and events at commit, so a new discussion is not always the newest. */
function insert(pages: readonly DiscussionPage[], discussion: Discussion, eventId: number): readonly DiscussionPage[] {
  const at = pages.findIndex((page) => {
    const last = page.discussions[page.discussions.length - 1];
    return page.next_cursor === null || (last?.id ?? 0) < discussion.id;
  });
  return patchAt(pages, at, eventId, (discussions) => {
    const before = discussions.findIndex((other) => other.id < discussion.id);
    return insertAt(discussions, before < 0 ? discussions.length : before, discussion);
  });
}

type Change = (discussions: Discussion[]) => Discussion[];

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
  const discussions = change(page.discussions);
  return discussions === page.discussions ? page : { ...page, discussions, last_event_id: eventId };
}

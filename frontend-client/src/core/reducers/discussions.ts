import { insertAt, mapChanged, renamed, replaceAt, type KnownEvent } from "../events.js";
import type { Discussion, DiscussionPage } from "../generated/api.js";

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
  if (!isOfArticle(event, scope.articleId)) return pages;
  const id = event.discussion_id;
  const at = pages.findIndex((page) => page.discussions.some((discussion) => discussion.id === id));
  if (at < 0) return event.type === "new_discussion" ? insert(pages, fromEvent(event), event.event_id) : pages;
  return patchAt(pages, at, event.event_id, (discussions) =>
    mapChanged(discussions, (discussion) => (discussion.id === id ? applyToDiscussion(discussion, event) : discussion)),
  );
}

/** Folds one event into a discussion that is cached in a page of its own. */
export function foldDiscussion(page: DiscussionPage, event: KnownEvent): DiscussionPage {
  return patch(page, event.event_id, (discussions) =>
    mapChanged(discussions, (one) => {
      if (event.type === "author_changed") return one.community_id === event.community_id ? renamed(one, event) : one;
      return isOfArticle(event, one.article_id) && event.discussion_id === one.id ? applyToDiscussion(one, event) : one;
    }),
  );
}

/** What a tombstone shows. */
const nothing = { topic: null, text: null, author: null, resolved_by: null };

function applyToDiscussion(discussion: Discussion, event: DiscussionEvent): Discussion {
  switch (event.type) {
    case "updated_discussion": {
      // Either may be newer: the discussion, whose deletion is on its way, or the event, which was redacted.
      const deleted_at = discussion.deleted_at ?? event.deleted_at ?? null;
      const { topic, text, author, resolved_by } = deleted_at === null ? event : nothing;
      const { is_resolved, comment_count, edited_at, resolved_at, timestamp: updated_at } = event;
      const times = { updated_at, edited_at, resolved_at, resolved_by, deleted_at };
      return { ...discussion, topic, text, author, is_resolved, comment_count, ...times };
    }
    case "deleted_discussion":
      return { ...discussion, ...nothing, deleted_at: event.timestamp };
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
    edited_at,
    resolved_at,
    resolved_by,
    timestamp,
    deleted_at = null,
  } = event;
  const times = { created_at: timestamp, updated_at: timestamp, edited_at, resolved_at, resolved_by, deleted_at };
  return { id, community_id, article_id, topic, text, author, is_resolved, comment_count, ...times };
}

/** Inserts by id. A new discussion need not have the highest id: ids follow the inserts, and events follow the commits. */
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

import type { Discussion, DiscussionPage, Event } from "../generated/api.js";

/** Which discussions a list shows. */
export interface DiscussionScope {
  articleId: number;
  /** Undefined: all communities that the viewer may read. */
  communityId?: number | undefined;
}

/** Whether the event can change a list of this scope. */
export function concernsDiscussions(scope: DiscussionScope, event: Event): boolean {
  if (event.type === "membership_changed" || event.article_id !== scope.articleId) return false;
  return scope.communityId === undefined || scope.communityId === event.community_id;
}

/**
 * Folds one event into cached pages (newest discussion first). Events say what is, so one that a page already shows
 * changes nothing; each page skips what its own `last_event_id` covers.
 */
export function foldDiscussions(pages: readonly DiscussionPage[], scope: DiscussionScope, event: Event): readonly DiscussionPage[] {
  if (!concernsDiscussions(scope, event) || event.type === "membership_changed") return pages;
  const id = event.discussion_id;
  const at = pages.findIndex((page) => page.discussions.some((discussion) => discussion.id === id));
  if (at < 0) return event.type === "new_discussion" ? insert(pages, fromEvent(event), event.event_id) : pages;
  return patch(pages, at, event.event_id, (discussions) =>
    discussions.map((discussion) => (discussion.id === id ? apply(discussion, event) : discussion)),
  );
}

function apply(discussion: Discussion, event: Event): Discussion {
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
    case "new_discussion":
    case "updated_comment":
    case "membership_changed":
      return discussion;
  }
}

function fromEvent(event: Extract<Event, { type: "new_discussion" }>): Discussion {
  const { discussion_id: id, community_id, article_id, topic, text, author, is_resolved, comment_count, timestamp } = event;
  const times = { created_at: timestamp, updated_at: timestamp, deleted_at: null };
  return { id, community_id, article_id, topic, text, author, is_resolved, comment_count, ...times };
}

/** Ids are given at insert and events at commit, so a new discussion is not always the newest. */
function insert(pages: readonly DiscussionPage[], discussion: Discussion, eventId: number): readonly DiscussionPage[] {
  const at = pages.findIndex((page) => page.next_cursor === null || (page.discussions.at(-1)?.id ?? 0) < discussion.id);
  return patch(pages, at, eventId, (discussions) => {
    const before = discussions.findIndex((other) => other.id < discussion.id);
    return discussions.toSpliced(before < 0 ? discussions.length : before, 0, discussion);
  });
}

function patch(
  pages: readonly DiscussionPage[],
  at: number,
  eventId: number,
  change: (discussions: Discussion[]) => Discussion[],
): readonly DiscussionPage[] {
  const page = pages[at];
  if (page === undefined || eventId <= page.last_event_id) return pages;
  return pages.with(at, { ...page, discussions: change(page.discussions), last_event_id: eventId });
}

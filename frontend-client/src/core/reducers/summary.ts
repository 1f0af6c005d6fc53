import { isOutdated, type KnownEvent } from "../events.js";
import type { Summary, ViewerInfo } from "../generated/api.js";
import { closesTo } from "./visibility.js";

/** The article and the community of a summary. */
export interface SummaryScope {
  articleId: number;
  communityId: number;
}

/** A summary as a viewer has read it. */
export interface SummarySnapshot {
  /** Null if there is none. */
  summary: Summary | null;
  viewer: ViewerInfo | null;
  /** Every event up to this one is reflected. */
  last_event_id: number;
}

/** The event that a summary was written, changed or deleted. */
export type SummaryChanged = Extract<KnownEvent, { type: "updated_summary" }>;

/** Whether the event is of this summary. */
export function isOfSummary({ articleId, communityId }: SummaryScope, event: KnownEvent): event is SummaryChanged {
  return event.type === "updated_summary" && event.article_id === articleId && event.community_id === communityId;
}

/**
 * Folds one event into a snapshot. A snapshot skips the events up to its own `last_event_id`, and those whose revision it has: it may be
 * newer than it says.
 */
export function foldSummary(snapshot: SummarySnapshot, scope: SummaryScope, event: KnownEvent): SummarySnapshot {
  if (event.event_id <= snapshot.last_event_id || event.community_id !== scope.communityId) return snapshot;
  const summary = summaryAfter(snapshot, scope, event);
  return summary === snapshot.summary ? snapshot : { ...snapshot, summary, last_event_id: event.event_id };
}

function summaryAfter({ summary, viewer }: SummarySnapshot, scope: SummaryScope, event: KnownEvent): Summary | null {
  if (event.type === "author_changed")
    return summary?.author && isOutdated(summary.author, event.author) ? { ...summary, author: event.author } : summary;
  if (event.type === "community_changed") return closesTo(viewer, event) ? null : summary;
  if (!isOfSummary(scope, event) || event.revision <= (summary?.revision ?? 0)) return summary;
  const { text, author, revision, article_id, community_id, created_at, updated_at } = event;
  // It is deleted by this event, or was since, and then a later event says what there is now.
  if (text === null) return null;
  return { article_id, community_id, text, author, revision, created_at, updated_at };
}

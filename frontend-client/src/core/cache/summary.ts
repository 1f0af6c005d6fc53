import type { Summary, ViewerInfo } from "../generated/api.js";
import type { SummaryScope, SummarySnapshot } from "../reducers/summary.js";
import { isMine, membershipIn } from "../viewer.js";
import type { Operation } from "./pending.js";

/** A summary on the page. */
export interface SummaryItem extends Summary {
  /** The text is not saved yet. */
  pending: boolean;
  /** Why it was not saved. If `pending` too, it is sent by itself later. */
  error: unknown;
  /** The viewer wrote this text. */
  mine: boolean;
}

/** What the page shows, and the operations that the cache already shows. */
export interface OverlaidSummary {
  /** Null if there is none. Undefined while it is not known. */
  summary: SummaryItem | null | undefined;
  /** While a deletion can be undone: the key of its operation. */
  undo: string | undefined;
  settled: string[];
}

/** The cached summary with the user's operations applied. */
export function overlaySummary(
  snapshot: Pick<SummarySnapshot, "summary" | "viewer"> | undefined,
  scope: SummaryScope,
  operations: readonly Operation[],
): OverlaidSummary {
  const settled: string[] = [];
  if (!snapshot) return { summary: undefined, undo: undefined, settled };
  const { viewer } = snapshot;
  let shown = snapshot.summary && itemOf(snapshot.summary, viewer);
  let undo: string | undefined;
  for (const operation of operations) {
    if (operation.kind !== "write_summary" && operation.kind !== "delete_summary") continue;
    if (operation.articleId !== scope.articleId || operation.communityId !== scope.communityId) continue;
    const { key, state } = operation;
    if (state === "failed") continue;
    if (operation.kind === "delete_summary") {
      if (state === "confirmed" && (operation.isTold || snapshot.summary === null)) settled.push(key);
      else [shown, undo] = [null, state === "held" ? key : undefined];
      continue;
    }
    const { result, text, error, at, isTold } = operation;
    const isShown = result !== undefined && (snapshot.summary?.revision ?? 0) >= result.revision;
    if (state === "confirmed" && (isTold || isShown)) settled.push(key);
    else if (result) shown = itemOf(result, viewer);
    else shown = { ...(shown ?? first(scope, at)), ...ownName(viewer, scope), text, pending: true, error };
  }
  return { summary: shown, undo, settled };
}

function itemOf(summary: Summary, viewer: ViewerInfo | null): SummaryItem {
  const mine = isMine(summary.author, viewer, summary.community_id);
  return { ...summary, pending: false, error: undefined, mine };
}

/** A summary that is being written where there is none. */
function first({ articleId: article_id, communityId: community_id }: SummaryScope, at: number) {
  const time = new Date(at).toISOString();
  return { article_id, community_id, revision: 0, created_at: time, updated_at: time };
}

/**
 * The user's name is not known here. The page has it. Where people write under pseudonyms a summary has no author, which is known here if
 * the user has a pseudonym.
 */
function ownName(viewer: ViewerInfo | null, { communityId }: SummaryScope) {
  const isNobody = viewer === null || Boolean(membershipIn(viewer, communityId)?.pseudonym);
  return { author: isNobody ? null : { id: viewer.user_id, username: "", avatar_url: null }, mine: true };
}

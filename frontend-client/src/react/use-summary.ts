"use client";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { isFor } from "../core/cache/keys.js";
import { newKey } from "../core/cache/new-key.js";
import type { Version } from "../core/cache/pending.js";
import { summaryQuery } from "../core/cache/queries.js";
import { overlaySummary } from "../core/cache/summary.js";
import type { Summary } from "../core/generated/api.js";
import { membershipIn } from "../core/viewer.js";
import { useAccess } from "./access.js";
import { noOperations } from "./no-operations.js";
import { useLiveConnection } from "./provider.js";
import { UNFOLLOWED_REFRESH_MS, type RemoveOptions } from "./use-pages.js";
import { useRealtimeStatus } from "./use-status.js";

export interface UseSummaryOptions {
  enabled?: boolean;
}

export interface SaveSummaryOptions {
  /**
   * What the user began to change, such as a draft's `from`; null if there was no summary. Default: what the hook shows. If somebody has
   * changed it since, `save` rejects with `changed_meanwhile`, and the error's `current` is what it is now. If it was deleted since, `save`
   * rejects with `summary_not_found`.
   */
  from?: Version | null | undefined;
}

/**
 * The summary of the discussions on an article in a community, live, with functions to change it. Only admins of the community may do
 * that. What they write shows at once.
 */
export function useSummary(articleId: number, communityId: number, { enabled = true }: UseSummaryOptions = {}) {
  const connection = useLiveConnection();
  const { communities, config, outbox, pending, user } = connection;
  const status = useRealtimeStatus().state;
  const covered = useSyncExternalStore(communities.subscribe, communities.get, communities.initial);
  const scope = useMemo(() => ({ articleId, communityId }), [articleId, communityId]);
  const getsEvents = (viewer: Parameters<typeof membershipIn>[0]) =>
    (covered.has(communityId) || membershipIn(viewer, communityId) !== undefined) && connection.getsAllOf(articleId);
  const query = useQuery({
    ...summaryQuery(scope, { config, user }),
    enabled,
    refetchInterval: ({ state }) => (state.data && !getsEvents(state.data.viewer) ? UNFOLLOWED_REFRESH_MS : false),
  });
  const access = useAccess(communityId, query.error);
  const isHidden = access.state === "denied" || (access.state !== "granted" && query.error !== null);
  const isForeign = query.data !== undefined && !isFor(user, query.data.viewer);
  const snapshot = isHidden || isForeign ? undefined : query.data;
  const operations = useSyncExternalStore(pending.subscribe, pending.snapshot, noOperations);
  const { summary, undo, settled } = useMemo(
    () => overlaySummary(snapshot, scope, operations),
    [snapshot, scope, operations],
  );
  useEffect(() => pending.remove(...settled), [pending, settled]);
  const shown = snapshot?.summary;
  const actions = useMemo(() => {
    const base = () => ({ key: newKey(), at: Date.now(), state: "sending" as const, ...scope });
    return {
      /** Writes the text in place of the one that is shown, or of none. */
      save: (text: string, { from = shown ?? null }: SaveSummaryOptions = {}) =>
        outbox.send({ ...base(), kind: "write_summary", text, from }) as Promise<Summary>,
      /**
       * Deletes the summary that is shown, with its revisions. If somebody has changed it since, also while the deletion could be undone,
       * the new text is shown and `remove` rejects with `changed_meanwhile`.
       */
      remove: ({ undoMs = 0 }: RemoveOptions = {}) => {
        const deletion = { ...base(), kind: "delete_summary" as const, from: summary ?? undefined };
        return outbox.send({ ...deletion, after: outbox.head() }, undoMs) as Promise<void>;
      },
      /** Undoes a deletion that is not sent yet: pass `undo`. */
      discard: (key: string) => outbox.discard(key),
    };
  }, [outbox, scope, shown, summary]);
  const viewer = snapshot?.viewer ?? null;
  return {
    /** Null if there is none. Undefined while it is not known, and if the user may not read it. */
    summary,
    text: summary?.text ?? null,
    author: summary?.author ?? null,
    /** Whether the user is an admin of the community. */
    canEdit: access.state === "granted" && membershipIn(viewer, communityId)?.role === "admin",
    /** While a deletion can be undone: pass this to `discard` to undo it. */
    undo,
    viewer,
    access,
    /** Whether changes arrive as events. If not, the summary is read again once a minute. */
    isLive: status === "live" && snapshot !== undefined && getsEvents(viewer),
    isPending: query.isPending || isForeign,
    error: query.error,
    refetch: query.refetch,
    ...actions,
  };
}

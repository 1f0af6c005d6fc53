"use client";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { useLiveConnection } from "./provider.js";

export interface UseWatchOptions {
  enabled?: boolean;
}

/**
 * Watches public communities in which the user is no member, while the component is on the page: their lists are live then. Returns
 * those of them whose events come. One's own communities need not be watched. What cannot be watched is left out.
 */
export function useWatch(communityIds: readonly number[], { enabled = true }: UseWatchOptions = {}): readonly number[] {
  const connection = useLiveConnection();
  const { communities, user } = connection;
  const covered = useSyncExternalStore(communities.subscribe, communities.get, communities.initial);
  const name = enabled && user !== null ? communityIds.join() : "";
  const ids = useMemo(() => (name === "" ? [] : name.split(",").map(Number)), [name]);
  useEffect(() => (ids.length > 0 ? connection.watch(ids) : undefined), [connection, ids]);
  return useMemo(() => ids.filter((id) => covered.has(id)), [ids, covered]);
}

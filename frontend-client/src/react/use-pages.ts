"use client";
import { useInfiniteQuery, type InfiniteData } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Page, PagesQuery } from "../core/cache/queries.js";
import { isOwn } from "../core/cache/sync.js";
import { useAccess } from "./access.js";
import { useLiveConnection } from "./provider.js";

export interface SendOptions {
  /** The Idempotency-Key, such as a draft's: two calls with the same one make one thing. */
  key?: string;
}

export interface RemoveOptions {
  /** The deletion is sent after so many milliseconds. Until then `discard(item.undo)` takes it back. Default: at once. */
  undoMs?: number;
}

/** What the hooks of lists share: the pages that this user may see, and how it stands with them. */
export function usePages<P extends Page>(options: PagesQuery<P>, communityId: number | undefined, enabled: boolean) {
  const connection = useLiveConnection();
  const query = useInfiniteQuery<P, Error, InfiniteData<P, string | null>, readonly unknown[], string | null>({
    ...options,
    enabled,
  });
  // A failure to load more takes nothing away.
  const error = query.isFetchNextPageError ? null : query.error;
  const access = useAccess(communityId, error);
  const hidden = access.state === "denied" || (access.state === "removed" && error);
  // Made for another user: it is fetched again.
  const foreign = query.data !== undefined && !isOwn(connection.user, query.data);
  const pages = hidden || foreign ? undefined : query.data?.pages;
  const state = {
    viewer: pages?.[0]?.viewer ?? null,
    access,
    isPending: query.isPending || foreign,
    error: query.error,
    hasMore: query.hasNextPage,
    isFetchingMore: query.isFetchingNextPage,
    fetchMore: query.fetchNextPage,
    refetch: query.refetch,
  };
  return { connection, pages, state };
}

/** What can be done with an item that is not sent yet. */
export function useRepeat() {
  const { outbox, pending } = useLiveConnection();
  return useMemo(
    () => ({
      /** Sends a failed item again, under its own Idempotency-Key. */
      retry: async (key: string) => {
        const operation = pending.get(key);
        if (operation) await outbox.send(operation);
      },
      /** Takes an unsent item back to edit it: gives its words. */
      edit: (key: string): { text: string; topic: string } | undefined => {
        const operation = pending.get(key);
        if (operation?.kind !== "create_comment" && operation?.kind !== "create_discussion") return undefined;
        const { input } = operation;
        outbox.discard(key);
        return { text: input.text, topic: "topic" in input ? input.topic : "" };
      },
      /** Throws an unsent item away, or takes a deletion back while it is held. */
      discard: (key: string) => outbox.discard(key),
    }),
    [outbox, pending],
  );
}

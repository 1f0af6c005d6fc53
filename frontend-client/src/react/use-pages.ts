"use client";
import { useInfiniteQuery, type InfiniteData } from "@tanstack/react-query";
import { useMemo } from "react";
import { places } from "../core/cache/drafts.js";
import type { Operation } from "../core/cache/pending.js";
import type { Page, PagesQuery } from "../core/cache/queries.js";
import { isOwn } from "../core/cache/sync.js";
import { useAccess } from "./access.js";
import { useLiveConnection } from "./provider.js";

export interface SendOptions {
  /** The Idempotency-Key, such as a draft's: two calls with the same one make one thing. */
  key?: string | undefined;
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
  const { drafts, outbox, pending } = useLiveConnection();
  return useMemo(
    () => ({
      /** Sends a failed item again, under its own Idempotency-Key. */
      retry: async (key: string) => {
        const operation = pending.get(key);
        if (operation) await outbox.send(operation);
      },
      /** Takes an unsent item back into the draft that it came from, to edit it. */
      edit: (key: string) => {
        const operation = pending.get(key);
        if (operation?.kind !== "create_comment" && operation?.kind !== "create_discussion") return;
        outbox.discard(key);
        drafts.prepend(placeOf(operation), {
          topic: "topic" in operation.input ? operation.input.topic : "",
          text: operation.input.text,
        });
      },
      /** Throws an unsent item away, or takes a deletion back while it is held. */
      discard: (key: string) => outbox.discard(key),
    }),
    [drafts, outbox, pending],
  );
}

function placeOf(operation: Extract<Operation, { kind: "create_comment" | "create_discussion" }>): string {
  if (operation.kind === "create_discussion") return places.newDiscussion(operation.articleId);
  const parent = operation.input.parent_id ?? null;
  return parent === null ? places.comment(operation.discussionId) : places.reply(parent);
}

"use client";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Discussion, DiscussionPatch, NewDiscussion } from "../generated/api.js";
import { useAccess } from "./access.js";
import { newKey } from "./new-key.js";
import { overlayDiscussions } from "./overlay.js";
import { useSession } from "./provider.js";
import { discussionsQuery } from "./queries.js";
import { useSend } from "./send.js";
import { useOverlay } from "./use-overlay.js";

export interface UseDiscussionsOptions {
  /** Undefined: all communities that the viewer may read. */
  communityId?: number | undefined;
  pageSize?: number;
  enabled?: boolean;
}

const none: never[] = [];

/** An article's discussions, newest first, live, and what one can do with them. */
export function useDiscussions(articleId: number, { communityId, pageSize, enabled = true }: UseDiscussionsOptions = {}) {
  const session = useSession();
  const query = useInfiniteQuery({
    ...discussionsQuery({ articleId, communityId }, { config: session.config, user: session.user, pageSize }),
    enabled,
  });
  const access = useAccess(communityId, query.error);
  const pages = access.state === "denied" || (access.state === "removed" && query.error) ? undefined : query.data?.pages;
  const viewer = pages?.[0]?.viewer ?? null;
  const cached = useMemo(() => pages?.flatMap((page) => page.discussions) ?? none, [pages]);
  const discussions = useOverlay(
    (operations, keys) => overlayDiscussions(cached, operations, articleId, viewer, keys),
    [cached, articleId, viewer],
  );
  const send = useSend();
  const actions = useMemo(() => {
    const base = () => ({ key: newKey(), at: Date.now(), state: "sending" as const });
    return {
      create: (input: NewDiscussion) => {
        const after = Math.max(0, ...cached.map((discussion) => discussion.id));
        return send({ ...base(), kind: "create_discussion", articleId, input, after }) as Promise<Discussion>;
      },
      update: (id: number, patch: DiscussionPatch) =>
        send({ ...base(), kind: "update_discussion", id, patch }) as Promise<Discussion>,
      remove: (id: number) => send({ ...base(), kind: "delete_discussion", id }) as Promise<void>,
      /** Sends a failed item again, under its own Idempotency-Key. */
      retry: async (key: string) => {
        const operation = session.pending.get(key);
        if (operation) await send(operation);
      },
      discard: (key: string) => session.pending.remove(key),
    };
  }, [articleId, cached, send, session]);
  return {
    discussions,
    viewer,
    access,
    isPending: query.isPending,
    error: query.error,
    hasMore: query.hasNextPage,
    isFetchingMore: query.isFetchingNextPage,
    fetchMore: query.fetchNextPage,
    refetch: query.refetch,
    ...actions,
  };
}

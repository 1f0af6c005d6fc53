"use client";
import { useInfiniteQuery, type InfiniteData, type QueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Comment, CommentTree, DiscussionPage, NewComment } from "../generated/api.js";
import { useAccess } from "./access.js";
import { keys, type User } from "./keys.js";
import { newKey } from "./new-key.js";
import { overlayComments } from "./overlay.js";
import { useSession } from "./provider.js";
import { commentsQuery } from "./queries.js";
import { useSend } from "./send.js";
import { useOverlay } from "./use-overlay.js";

export interface UseCommentsOptions {
  /** Where the discussion is. Found by itself when a list with the discussion is cached. */
  communityId?: number | undefined;
  pageSize?: number;
  enabled?: boolean;
}

const none: never[] = [];

/** A discussion's comments as trees, oldest first, live, and what one can do with them. */
export function useComments(discussionId: number, { communityId, pageSize, enabled = true }: UseCommentsOptions = {}) {
  const session = useSession();
  const query = useInfiniteQuery({
    ...commentsQuery(discussionId, { config: session.config, user: session.user, pageSize }),
    enabled,
  });
  const community = communityId ?? communityOf(session.queryClient, session.user, discussionId);
  const access = useAccess(community, query.error);
  const pages = access.state === "denied" || (access.state === "removed" && query.error) ? undefined : query.data?.pages;
  const viewer = pages?.[0]?.viewer ?? null;
  const cached = useMemo(() => pages?.flatMap((page) => page.comments) ?? none, [pages]);
  const comments = useOverlay(
    (operations, stable) => overlayComments(cached, operations, discussionId, viewer, stable),
    [cached, discussionId, viewer],
  );
  const send = useSend();
  const actions = useMemo(() => {
    const base = () => ({ key: newKey(), at: Date.now(), state: "sending" as const, discussionId });
    return {
      create: (input: NewComment) =>
        send({ ...base(), kind: "create_comment", input, after: newest(cached) }) as Promise<Comment>,
      update: (id: number, text: string) => send({ ...base(), kind: "update_comment", id, text }) as Promise<Comment>,
      remove: (id: number) => send({ ...base(), kind: "delete_comment", id }) as Promise<void>,
      /** Sends a failed item again, under its own Idempotency-Key. */
      retry: async (key: string) => {
        const operation = session.pending.get(key);
        if (operation) await send(operation);
      },
      discard: (key: string) => session.pending.remove(key),
    };
  }, [cached, discussionId, send, session]);
  return {
    comments,
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

function newest(trees: readonly CommentTree[]): number {
  return Math.max(0, ...trees.map((tree) => Math.max(tree.id, newest(tree.replies))));
}

function communityOf(client: QueryClient, user: User, discussionId: number): number | undefined {
  for (const [key, data] of client.getQueriesData<InfiniteData<DiscussionPage>>({ queryKey: keys.all(user) })) {
    if (key[2] !== "discussions") continue;
    for (const page of data?.pages ?? []) {
      const found = page.discussions.find((discussion) => discussion.id === discussionId);
      if (found) return found.community_id;
    }
  }
  return undefined;
}

"use client";
import { useCallback, useMemo } from "react";
import { newKey } from "../core/cache/new-key.js";
import { overlayComments, type CommentItem } from "../core/cache/overlay.js";
import { commentsQuery } from "../core/cache/queries.js";
import { keys } from "../core/cache/keys.js";
import { findDiscussion, type CachedPages } from "../core/cache/sync.js";
import type { Comment, CommentPage, CommentTree, NewComment } from "../core/generated/api.js";
import { useLiveConnection } from "./provider.js";
import { useOverlay, type Overlay } from "./use-overlay.js";
import { usePages, useRepeat, type RemoveOptions, type SendOptions, type UpdateOptions } from "./use-pages.js";

export interface UseCommentsOptions {
  /** The discussion's community. Not needed if a list with the discussion is cached. */
  communityId?: number | undefined;
  pageSize?: number;
  enabled?: boolean;
}

const none: never[] = [];

/** A discussion's comments as live trees, oldest first, with functions to change them. */
export function useComments(discussionId: number, { communityId, pageSize, enabled = true }: UseCommentsOptions = {}) {
  const { config, outbox, queryClient, user } = useLiveConnection();
  const community = communityId ?? findDiscussion(queryClient, user, discussionId)?.community_id;
  const { pages, state } = usePages(commentsQuery(discussionId, { config, user, pageSize }), community, enabled);
  const { viewer } = state;
  const cached = useMemo(() => pages?.flatMap((page) => page.comments) ?? none, [pages]);
  const overlay = useCallback<Overlay<CommentItem>>(
    (operations, stable) => overlayComments(cached, operations, discussionId, viewer, stable),
    [cached, discussionId, viewer],
  );
  const comments = useOverlay(overlay);
  const repeat = useRepeat();
  const actions = useMemo(() => {
    const base = (key = newKey()) => ({ key, at: Date.now(), state: "sending" as const, discussionId });
    const known = () =>
      queryClient.getQueryData<CachedPages<CommentPage>>(keys.comments(user, discussionId))?.pages ?? [];
    return {
      create: (input: NewComment, { key }: SendOptions = {}) =>
        outbox.send({
          ...base(key),
          kind: "create_comment",
          input,
          after: newest(known().flatMap((page) => page.comments)),
        }) as Promise<Comment>,
      update: (id: number, text: string, { from }: UpdateOptions = {}) =>
        outbox.send({ ...base(), kind: "update_comment", id, text, from }) as Promise<Comment>,
      remove: (id: number, { undoMs = 0 }: RemoveOptions = {}) =>
        outbox.send({ ...base(), kind: "delete_comment", id }, undoMs) as Promise<void>,
    };
  }, [discussionId, outbox, queryClient, user]);
  return { comments, ...state, ...actions, ...repeat };
}

function newest(trees: readonly CommentTree[]): number {
  return Math.max(0, ...trees.map((tree) => Math.max(tree.id, newest(tree.replies))));
}

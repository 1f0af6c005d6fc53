"use client";
import { useCallback, useMemo } from "react";
import { markedTrees } from "../core/cache/marks.js";
import { newKey } from "../core/cache/new-key.js";
import { CommentItems, overlayComments, type CommentItem } from "../core/cache/overlay.js";
import { commentsQuery } from "../core/cache/queries.js";
import { keys } from "../core/cache/keys.js";
import { findDiscussion, type CachedPages } from "../core/cache/cached.js";
import { sendVote } from "../core/cache/votes.js";
import type { Comment, CommentPage, CommentTree, NewComment, VoteValue } from "../core/generated/api.js";
import { commentTrees } from "../core/reducers/comments.js";
import { useLiveConnection } from "./provider.js";
import { useMarks } from "./use-marks.js";
import { useOverlay, type Overlay } from "./use-overlay.js";
import { usePages, useRepeat, type RemoveOptions, type SendOptions, type UpdateOptions } from "./use-pages.js";

export interface UseCommentsOptions {
  /** The discussion's community. Not needed if a list with the discussion is cached. */
  communityId?: number | undefined;
  /**
   * A comment, such as that of a link. The thread is then loaded around it, and `fetchEarlier` leads on to the beginning. If the
   * discussion has no such comment, `error` has the code `comment_not_found`.
   */
  around?: number | undefined;
  pageSize?: number;
  enabled?: boolean;
}

const none: never[] = [];

/** A discussion's comments as live trees, oldest first, with functions to change them. */
export function useComments(
  discussionId: number,
  { communityId, around, pageSize, enabled = true }: UseCommentsOptions = {},
) {
  const { config, outbox, queryClient, readMarks, user } = useLiveConnection();
  const community = communityId ?? findDiscussion(queryClient, user, discussionId)?.community_id;
  const query = commentsQuery(discussionId, { config, user, around, pageSize });
  const { pages, state, earlier } = usePages(query, community, enabled);
  const { viewer } = state;
  const trees = useMemo(() => (pages ? commentTrees(pages) : none), [pages]);
  const marks = useMarks(discussionId);
  const cached = useMemo(() => markedTrees(trees, marks, viewer), [trees, marks, viewer]);
  // eslint-disable-next-line react-hooks/exhaustive-deps -- the items are of one viewer's thread
  const made = useMemo(() => new CommentItems(), [discussionId, viewer]);
  const overlay = useCallback<Overlay<CommentItem>>(
    (operations, stable) => overlayComments(cached, operations, discussionId, viewer, stable, made),
    [cached, discussionId, viewer, made],
  );
  const comments = useOverlay(overlay);
  const repeat = useRepeat();
  const actions = useMemo(() => {
    const base = (key = newKey()) => ({ key, at: Date.now(), state: "sending" as const, discussionId });
    const known = () =>
      queryClient.getQueryData<CachedPages<CommentPage>>(keys.comments(user, discussionId, around))?.pages ?? [];
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
      vote: (id: number, value: VoteValue) => sendVote(outbox, { kind: "vote_comment", id, discussionId }, value),
      /** Marks the comments up to this one as read; without it all comments that are loaded, and the discussion's own text. */
      markRead: (upTo?: number) => {
        if (upTo !== undefined) return readMarks.markRead(discussionId, { upTo });
        // By their ids: a page that is not loaded may have older comments than those that are.
        const ids = [...readMarks.unreadOf(discussionId)].filter((id) => id !== 0);
        return readMarks.markRead(discussionId, { discussion: true, ids });
      },
      /** Marks the comments from this one on as unread; without it all comments, and the discussion's own text. */
      markUnread: (from?: number) => readMarks.markUnread(discussionId, from),
    };
  }, [around, discussionId, outbox, queryClient, readMarks, user]);
  return { comments, ...state, ...earlier, ...actions, ...repeat };
}

function newest(trees: readonly CommentTree[]): number {
  return Math.max(0, ...trees.map((tree) => Math.max(tree.id, newest(tree.replies))));
}

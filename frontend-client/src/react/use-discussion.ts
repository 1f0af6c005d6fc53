"use client";
import { useCallback, useMemo } from "react";
import { markedDiscussion } from "../core/cache/marks.js";
import { newKey } from "../core/cache/new-key.js";
import { overlayDiscussions, type DiscussionItem } from "../core/cache/overlay.js";
import { discussionQuery } from "../core/cache/queries.js";
import { findPageOf } from "../core/cache/cached.js";
import { sendVote } from "../core/cache/votes.js";
import type { Discussion, DiscussionPatch, VoteValue } from "../core/generated/api.js";
import { useLiveConnection } from "./provider.js";
import { useMarks } from "./use-marks.js";
import { useOverlay, type Overlay } from "./use-overlay.js";
import { usePages, useRepeat, type RemoveOptions, type UpdateOptions } from "./use-pages.js";

export interface UseDiscussionOptions {
  enabled?: boolean;
}

/** One live discussion, on whichever page of the list it is, with functions to change it. */
export function useDiscussion(discussionId: number, { enabled = true }: UseDiscussionOptions = {}) {
  const { config, outbox, queryClient, readMarks, user } = useLiveConnection();
  const listed = useCallback(() => findPageOf(queryClient, user, discussionId), [discussionId, queryClient, user]);
  const community = listed()?.discussions[0]?.community_id;
  const { pages, state } = usePages(discussionQuery(discussionId, { config, user }), community, enabled, listed);
  const { viewer, access, isPending, error, refetch } = state;
  const found = pages?.[0]?.discussions[0];
  const marks = useMarks(discussionId);
  const cached = useMemo(
    () => found && markedDiscussion(found, marks, viewer, readMarks.lastKnown),
    [found, marks, viewer, readMarks],
  );
  const overlay = useCallback<Overlay<DiscussionItem>>(
    (operations, keys) => {
      const scope = { articleId: cached?.article_id ?? 0, communityId: cached?.community_id };
      const others = operations.filter(({ kind }) => kind !== "create_discussion");
      return overlayDiscussions(cached ? [cached] : [], others, scope, viewer, keys);
    },
    [cached, viewer],
  );
  const [discussion] = useOverlay(overlay);
  const repeat = useRepeat();
  const actions = useMemo(() => {
    const base = () => ({ key: newKey(), at: Date.now(), state: "sending" as const, id: discussionId });
    return {
      update: (patch: DiscussionPatch, { from }: UpdateOptions = {}) =>
        outbox.send({ ...base(), kind: "update_discussion", patch, from }) as Promise<Discussion>,
      remove: ({ undoMs = 0 }: RemoveOptions = {}) =>
        outbox.send({ ...base(), kind: "delete_discussion" }, undoMs) as Promise<void>,
      vote: (value: VoteValue) => sendVote(outbox, { kind: "vote_discussion", id: discussionId }, value),
      /** Marks the discussion's own text as read. `useComments` has the function for its comments. */
      markRead: () => readMarks.markRead(discussionId, { discussion: true }),
      /** Marks the discussion's own text and all its comments as unread. */
      markUnread: () => readMarks.markUnread(discussionId),
    };
  }, [discussionId, outbox, readMarks]);
  return { discussion, viewer, access, isPending, error, refetch, ...actions, ...repeat };
}

"use client";
import { useCallback, useMemo } from "react";
import { keys } from "../core/cache/keys.js";
import type { CachedPages } from "../core/cache/cached.js";
import { markedDiscussion, noMarks } from "../core/cache/marks.js";
import { newKey } from "../core/cache/new-key.js";
import { overlayDiscussions, type DiscussionItem } from "../core/cache/overlay.js";
import { discussionsQuery } from "../core/cache/queries.js";
import { sendVote } from "../core/cache/votes.js";
import type { Discussion, DiscussionPage, DiscussionPatch, NewDiscussion, VoteValue } from "../core/generated/api.js";
import { useLiveConnection } from "./provider.js";
import { useAllMarks } from "./use-marks.js";
import { useOverlay, type Overlay } from "./use-overlay.js";
import { usePages, useRepeat, type RemoveOptions, type SendOptions, type UpdateOptions } from "./use-pages.js";

export interface UseDiscussionsOptions {
  /** Undefined: all communities that the viewer may read. */
  communityId?: number | undefined;
  pageSize?: number;
  enabled?: boolean;
}

/** A new discussion. Without `community_id` it is one of the hook's `communityId`. */
export type NewDiscussionHere = Omit<NewDiscussion, "community_id"> & { community_id?: number };

const none: never[] = [];

/** An article's discussions, live and newest first, with functions to change them. */
export function useDiscussions(
  articleId: number,
  { communityId, pageSize, enabled = true }: UseDiscussionsOptions = {},
) {
  const { config, outbox, queryClient, readMarks, user } = useLiveConnection();
  const { pages, state } = usePages(
    discussionsQuery({ articleId, communityId }, { config, user, pageSize }),
    communityId,
    enabled,
  );
  const { viewer } = state;
  const marks = useAllMarks();
  const cached = useMemo(() => {
    const all = pages?.flatMap((page) => page.discussions) ?? none;
    return all.map((one) => markedDiscussion(one, marks.get(one.id) ?? noMarks, viewer, readMarks.lastKnown));
  }, [pages, marks, viewer, readMarks]);
  const overlay = useCallback<Overlay<DiscussionItem>>(
    (operations, keys) => overlayDiscussions(cached, operations, { articleId, communityId }, viewer, keys),
    [cached, articleId, communityId, viewer],
  );
  const discussions = useOverlay(overlay);
  const repeat = useRepeat();
  const actions = useMemo(() => {
    const base = (key = newKey()) => ({ key, at: Date.now(), state: "sending" as const });
    return {
      create: async (here: NewDiscussionHere, { key }: SendOptions = {}) => {
        const community_id = here.community_id ?? communityId;
        if (community_id === undefined) throw new TypeError("the new discussion needs a community_id");
        const input: NewDiscussion = { ...here, community_id };
        const known = queryClient.getQueryData<CachedPages<DiscussionPage>>(
          keys.discussions(user, { articleId, communityId }),
        );
        const after = Math.max(0, ...(known?.pages ?? []).flatMap((page) => page.discussions.map(({ id }) => id)));
        return outbox.send({ ...base(key), kind: "create_discussion", articleId, input, after }) as Promise<Discussion>;
      },
      update: (id: number, patch: DiscussionPatch, { from }: UpdateOptions = {}) =>
        outbox.send({ ...base(), kind: "update_discussion", id, patch, from }) as Promise<Discussion>,
      remove: (id: number, { undoMs = 0 }: RemoveOptions = {}) =>
        outbox.send({ ...base(), kind: "delete_discussion", id }, undoMs) as Promise<void>,
      vote: (id: number, value: VoteValue) => sendVote(outbox, { kind: "vote_discussion", id }, value),
      /** Marks everything in the discussion as unread. */
      markUnread: (id: number) => readMarks.markUnread(id),
    };
  }, [articleId, communityId, outbox, queryClient, readMarks, user]);
  return { discussions, ...state, ...actions, ...repeat };
}

"use client";
import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";
import { sendFollow } from "../core/cache/follows.js";
import { markedDiscussion, noMarks } from "../core/cache/marks.js";
import { overlayArticle, overlayDiscussions, type DiscussionItem } from "../core/cache/overlay.js";
import type { FollowedThing } from "../core/cache/pending.js";
import { discussionQuery, followsQuery } from "../core/cache/queries.js";
import { findPageOf } from "../core/cache/cached.js";
import type { FollowLevel } from "../core/wire.js";
import { articleFollow } from "../core/reducers/follows.js";
import { noOperations } from "./no-operations.js";
import { useLiveConnection } from "./provider.js";
import { useMutate } from "./use-mutate.js";
import { useOverlay, type Overlay } from "./use-overlay.js";
import { usePages } from "./use-pages.js";

/** A discussion, or an article of a community. */
export type Followable = { discussionId: number } | { articleId: number; communityId: number };

export interface UseFollowOptions {
  enabled?: boolean;
}

export interface FollowState {
  /** What the user said. If they said nothing: `follow` where it is followed all the same, else `default`. Null if they are no member. */
  level: FollowLevel | null;
  /** Whether it is followed, by what was said about it, about its article, or because the user takes part. Null as for `level`. */
  isFollowed: boolean | null;
  /** The user said nothing about exactly this. */
  isDefault: boolean;
}

const unknown: FollowState = { level: null, isFollowed: null, isDefault: true };

/**
 * What the user wants to hear of a discussion or an article, with functions to change it. They show at once and may be repeated;
 * of several the last one counts. What the server refuses is taken back, and is in `error`.
 */
export function useFollow(thing: Followable, { enabled = true }: UseFollowOptions = {}) {
  const { outbox } = useLiveConnection();
  const discussionId = "discussionId" in thing ? thing.discussionId : undefined;
  const articleId = "articleId" in thing ? thing.articleId : undefined;
  const communityId = "communityId" in thing ? thing.communityId : undefined;
  const ofDiscussion = useDiscussionFollow(discussionId, enabled);
  const ofArticle = useArticleFollow(articleId, communityId, enabled);
  const state = discussionId === undefined ? ofArticle : ofDiscussion;
  const set = useCallback(
    async (level: FollowLevel) => {
      const place: FollowedThing | undefined =
        discussionId !== undefined
          ? { kind: "follow_discussion", id: discussionId }
          : articleId !== undefined && communityId !== undefined
            ? { kind: "follow_article", id: articleId, communityId }
            : undefined;
      if (place) await sendFollow(outbox, place, level);
    },
    [articleId, communityId, discussionId, outbox],
  );
  const { mutate, isPending, error } = useMutate(set);
  const actions = useMemo(
    () => ({
      follow: () => mutate("follow"),
      mute: () => mutate("mute"),
      /** Takes back what was said. */
      reset: () => mutate("default"),
      set: (level: FollowLevel) => mutate(level),
    }),
    [mutate],
  );
  return { ...state, ...actions, isPending, error };
}

function useDiscussionFollow(discussionId: number | undefined, enabled: boolean): FollowState {
  const { config, queryClient, readMarks, user } = useLiveConnection();
  const id = discussionId ?? 0;
  const listed = useCallback(() => findPageOf(queryClient, user, id), [id, queryClient, user]);
  const community = listed()?.discussions[0]?.community_id;
  const isOn = enabled && discussionId !== undefined;
  const { pages, state } = usePages(discussionQuery(id, { config, user }), community, isOn, listed);
  const { viewer } = state;
  const found = pages?.[0]?.discussions[0];
  const cached = useMemo(
    () => found && markedDiscussion(found, noMarks, viewer, readMarks.lastKnown),
    [found, viewer, readMarks],
  );
  const overlay = useCallback<Overlay<DiscussionItem>>(
    (operations, keys) => {
      const scope = { articleId: cached?.article_id ?? 0 };
      const follows = operations.filter(({ kind }) => kind === "follow_discussion" || kind === "follow_article");
      return overlayDiscussions(cached ? [cached] : [], follows, scope, viewer, keys);
    },
    [cached, viewer],
  );
  const [discussion] = useOverlay(overlay);
  const level = discussion?.follow_level;
  const isFollowed = discussion?.is_followed ?? null;
  return useMemo(() => (level ? stateOf(level, isFollowed) : unknown), [level, isFollowed]);
}

function useArticleFollow(
  articleId: number | undefined,
  communityId: number | undefined,
  enabled: boolean,
): FollowState {
  const { config, pending, user } = useLiveConnection();
  const scope = useMemo(() => ({ articleId: articleId ?? 0, communityId: communityId ?? 0 }), [articleId, communityId]);
  const { data } = useQuery({
    ...followsQuery(scope, { config, user }),
    enabled: enabled && articleId !== undefined && communityId !== undefined && user !== null,
  });
  const operations = useSyncExternalStore(pending.subscribe, pending.snapshot, noOperations);
  const { follow, settled } = useMemo(() => {
    const place = { id: scope.articleId, communityId: scope.communityId };
    return overlayArticle(data && articleFollow(data), place, operations);
  }, [data, operations, scope]);
  useEffect(() => pending.remove(...settled), [pending, settled]);
  return useMemo(
    () => (follow ? stateOf(follow.is_default ? "default" : follow.level, follow.is_followed) : unknown),
    [follow],
  );
}

function stateOf(said: FollowLevel, isFollowed: boolean | null): FollowState {
  const isDefault = said === "default";
  return { level: isDefault && isFollowed ? "follow" : said, isFollowed, isDefault };
}

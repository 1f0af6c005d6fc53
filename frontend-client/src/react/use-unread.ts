"use client";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { markedUnread } from "../core/cache/marks.js";
import { unreadQuery } from "../core/cache/queries.js";
import type { UnreadArticle, UnreadCommunity, UnreadDiscussion } from "../core/generated/api.js";
import { useLiveConnection } from "./provider.js";
import { useAllMarks, useArticleMarks } from "./use-marks.js";
import { UNFOLLOWED_REFRESH_MS } from "./use-pages.js";

export interface UseUnreadOptions {
  /** Only what is unread in this community. */
  communityId?: number | undefined;
  /** Only what is unread on this article. */
  articleId?: number | undefined;
  /** Only what the user follows. */
  followed?: boolean;
  enabled?: boolean;
}

const none = {
  articles: [] as UnreadArticle[],
  communities: [] as UnreadCommunity[],
  discussions: [] as UnreadDiscussion[],
};

/**
 * What the user has not read, live: the sums, and the newest 100 discussions with something unread. It is empty for a reader who
 * is not signed in.
 */
export function useUnread({ communityId, articleId, followed = false, enabled = true }: UseUnreadOptions = {}) {
  const connection = useLiveConnection();
  const { config, readMarks, user } = connection;
  const { data, isPending, error, refetch } = useQuery({
    ...unreadQuery({ communityId, articleId, followed }, { config, user }),
    enabled: enabled && user !== null,
    refetchInterval: connection.getsAllOf(articleId) ? false : UNFOLLOWED_REFRESH_MS,
  });
  const marks = useAllMarks();
  const articleMarks = useArticleMarks();
  const { articles, communities, discussions } = useMemo(
    () => (data ? markedUnread(data, marks, articleMarks) : none),
    [data, marks, articleMarks],
  );
  const actions = useMemo(
    () => ({
      /** Marks everything on an article of a community as read. */
      markArticleRead: (article: number, community: number) => readMarks.markArticleRead(article, community),
    }),
    [readMarks],
  );
  return useMemo(() => {
    const sum = (of: "discussions" | "comments") => communities.reduce((all, one) => all + one[of], 0);
    const totals = { discussions: sum("discussions"), comments: sum("comments") };
    return {
      totals,
      byArticle: articles,
      byCommunity: communities,
      discussions,
      isPending,
      error,
      refetch,
      ...actions,
    };
  }, [articles, communities, discussions, isPending, error, refetch, actions]);
}

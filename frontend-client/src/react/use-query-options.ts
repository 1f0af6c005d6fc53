"use client";
import { commentsQuery, discussionsQuery, type PagesQuery } from "../core/cache/queries.js";
import type { CommentPage, DiscussionPage } from "../core/generated/api.js";
import { useLiveConnection } from "./provider.js";

export interface QueryOptionsOfList {
  communityId?: number | undefined;
  pageSize?: number | undefined;
}

/**
 * The TanStack Query options of `useDiscussions`, for `useSuspenseInfiniteQuery`, a `select`, a prefetch, or its `queryKey`. The
 * cached pages are live while a `RealtimeProvider` is above. They do not have what is not sent yet.
 */
export function useDiscussionsQueryOptions(
  articleId: number,
  { communityId, pageSize }: QueryOptionsOfList = {},
): PagesQuery<DiscussionPage> {
  const { config, user } = useLiveConnection();
  return discussionsQuery({ articleId, communityId }, { config, user, pageSize });
}

/** The TanStack Query options of `useComments`. */
export function useCommentsQueryOptions(
  discussionId: number,
  { around, pageSize }: { around?: number | undefined; pageSize?: number | undefined } = {},
): PagesQuery<CommentPage> {
  const { config, user } = useLiveConnection();
  return commentsQuery(discussionId, { config, user, around, pageSize });
}

import { infiniteQueryOptions } from "@tanstack/react-query";
import type { ApiConfig } from "../api/config.js";
import { isTransient } from "../api/error.js";
import { callOptions } from "../api/request.js";
import { listComments, listDiscussions } from "../generated/api.js";
import type { DiscussionScope } from "../reducers/discussions.js";
import { keys, type User } from "./keys.js";

export interface QueryContext {
  config: ApiConfig;
  user: User;
  pageSize?: number | undefined;
}

/** Events keep what is cached fresh, so nothing is fetched again for age, focus or reconnection. */
const live = {
  initialPageParam: null as string | null,
  staleTime: Number.POSITIVE_INFINITY,
  refetchOnWindowFocus: false,
  refetchOnReconnect: false,
  networkMode: "always" as const,
  retry: (failures: number, error: Error) => failures < 4 && isTransient(error),
};

/** A list of discussions, for `useInfiniteQuery` and for `prefetchInfiniteQuery` on a server. */
export function discussionsQuery(scope: DiscussionScope, { config, user, pageSize = 20 }: QueryContext) {
  return infiniteQueryOptions({
    ...live,
    queryKey: keys.discussions(user, scope),
    queryFn: ({ pageParam, signal }) => {
      const community = scope.communityId === undefined ? {} : { community_id: scope.communityId };
      const query = { ...community, ...(pageParam === null ? {} : { cursor: pageParam }), limit: pageSize };
      return listDiscussions(scope.articleId, query, callOptions(config, { signal }));
    },
    getNextPageParam: (page) => page.next_cursor,
  });
}

/** A discussion's comments, for `useInfiniteQuery` and for `prefetchInfiniteQuery` on a server. */
export function commentsQuery(discussionId: number, { config, user, pageSize = 100 }: QueryContext) {
  return infiniteQueryOptions({
    ...live,
    queryKey: keys.comments(user, discussionId),
    queryFn: ({ pageParam, signal }) => {
      const query = { ...(pageParam === null ? {} : { cursor: pageParam }), limit: pageSize };
      return listComments(discussionId, query, callOptions(config, { signal }));
    },
    getNextPageParam: (page) => page.next_cursor,
  });
}

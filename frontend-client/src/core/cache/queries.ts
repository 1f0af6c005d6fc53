import type { DataTag, InfiniteData } from "@tanstack/react-query";
import type { ApiConfig } from "../api/config.js";
import { isTransient, WrongViewerError } from "../api/error.js";
import { callOptions, type RequestOptions } from "../api/request.js";
import { listComments, listDiscussions, type CommentPage, type DiscussionPage } from "../generated/api.js";
import type { DiscussionScope } from "../reducers/discussions.js";
import { isFor, keys, normalUser, type User } from "./keys.js";

export interface QueryContext {
  config: ApiConfig;
  /** Whose page it is. An answer that the server made for somebody else is an error. */
  user: User;
  pageSize?: number | undefined;
}

/** A page of a list, with the user that the server made it for. */
export type Page = DiscussionPage | CommentPage;

/** Options for `useInfiniteQuery`, and for `prefetchInfiniteQuery` on a server. */
export interface PagesQuery<P extends Page> {
  queryKey: DataTag<readonly unknown[], InfiniteData<P, string | null>>;
  queryFn: (context: { pageParam: string | null; signal: AbortSignal }) => Promise<P>;
  initialPageParam: string | null;
  getNextPageParam: (page: P) => string | null;
  staleTime: number;
  refetchOnWindowFocus: false;
  refetchOnReconnect: false;
  networkMode: "always";
  retry: false | ((failures: number, error: Error) => boolean);
}

/** A rendered page must not wait for a server that is down. */
const SERVER_TIME_LIMIT_MS = 3_000;
const rendersOnServer = typeof window === "undefined";

function pagesQuery<P extends Page>(
  queryKey: readonly unknown[],
  { config, user }: QueryContext,
  list: (cursor: { cursor?: string }, options: RequestInit) => Promise<P>,
): PagesQuery<P> {
  const limited = rendersOnServer ? { ...config, timeoutMs: config.timeoutMs ?? SERVER_TIME_LIMIT_MS } : config;
  return {
    queryKey: queryKey as PagesQuery<P>["queryKey"],
    queryFn: ({ pageParam, signal }) => {
      const cursor = pageParam === null ? {} : { cursor: pageParam };
      return forViewer(user, limited, signal, (options) => list(cursor, options));
    },
    initialPageParam: null,
    getNextPageParam: (page) => page.next_cursor,
    // Events keep what is cached fresh, so nothing is fetched again for age, focus or reconnection.
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
    networkMode: "always",
    retry: rendersOnServer ? false : (failures, error) => failures < 4 && isTransient(error),
  };
}

/** Fetches what was made for this user and nothing else. A token function gets one chance to notice that the user changed. */
async function forViewer<P extends Page>(
  user: User,
  config: ApiConfig,
  signal: AbortSignal,
  fetchPage: (options: RequestInit) => Promise<P>,
): Promise<P> {
  const attempt = (more: Omit<RequestOptions, "config">) => fetchPage(callOptions(config, { signal, ...more }));
  let page = await attempt({});
  if (!isFor(user, page.viewer) && typeof config.token === "function") page = await attempt({ refreshToken: true });
  if (!isFor(user, page.viewer)) throw new WrongViewerError(normalUser(user), page.viewer?.user_id ?? null);
  return page;
}

/** A list of discussions, newest first. */
export function discussionsQuery(scope: DiscussionScope, context: QueryContext): PagesQuery<DiscussionPage> {
  const community = scope.communityId === undefined ? {} : { community_id: scope.communityId };
  return pagesQuery(keys.discussions(context.user, scope), context, (cursor, options) =>
    listDiscussions(scope.articleId, { ...community, ...cursor, limit: context.pageSize ?? 20 }, options),
  );
}

/** A discussion's comments as trees, oldest first. */
export function commentsQuery(discussionId: number, context: QueryContext): PagesQuery<CommentPage> {
  return pagesQuery(keys.comments(context.user, discussionId), context, (cursor, options) =>
    listComments(discussionId, { ...cursor, limit: context.pageSize ?? 100 }, options),
  );
}

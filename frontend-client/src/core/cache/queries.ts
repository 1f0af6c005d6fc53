import type { DataTag, InfiniteData } from "@tanstack/react-query";
import type { ApiConfig } from "../api/config.js";
import { ApiError, isApiError, isTransient, WrongViewerError } from "../api/error.js";
import { callOptions, type RequestOptions } from "../api/request.js";
import {
  getDiscussion,
  getSummary,
  listComments,
  listDiscussions,
  listFollows,
  listNotifications,
  listUnread,
  type CommentPage,
  type DiscussionPage,
  type Unread,
} from "../generated/api.js";
import { fetchMembers, type CommunityMembers, type Follows, type Notifications } from "../wire.js";
import type { DiscussionScope } from "../reducers/discussions.js";
import type { FollowScope } from "../reducers/follows.js";
import type { NotificationScope } from "../reducers/notifications.js";
import type { SummaryScope, SummarySnapshot } from "../reducers/summary.js";
import type { UnreadScope } from "../reducers/unread-list.js";
import { isFor, keys, normalUser, type MemberScope, type User } from "./keys.js";

export interface QueryContext {
  config: ApiConfig;
  /** The page's user. An answer that the server made for another user is an error. */
  user: User;
  pageSize?: number | undefined;
}

/** A page of a list. Its `viewer` is the user for whom the server made it. */
export type Page = DiscussionPage | CommentPage;

/** Options for `useInfiniteQuery`, and for `prefetchInfiniteQuery` on a server. */
export interface PagesQuery<P extends Page> {
  queryKey: DataTag<readonly unknown[], InfiniteData<P, string | null>>;
  queryFn: (context: { pageParam: string | null; signal: AbortSignal }) => Promise<P>;
  initialPageParam: string | null;
  getNextPageParam: (page: P) => string | null;
  getPreviousPageParam: (page: P) => string | null;
  staleTime: number;
  refetchOnMount: true;
  refetchOnWindowFocus: false;
  refetchOnReconnect: false;
  networkMode: "always";
  retry: false | ((failures: number, error: Error) => boolean);
  retryDelay: (failures: number, error: Error) => number;
}

/** A fetch that must wait for longer than this fails at once, so that the page can say so. */
const LONGEST_RETRY_MS = 60_000;

function retryAfterMs(error: Error): number {
  return error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
}

function isWorthRetrying(failures: number, error: Error): boolean {
  return failures < 4 && isTransient(error) && retryAfterMs(error) <= LONGEST_RETRY_MS;
}

/** Waits for as long as the server says, and then with back-off and jitter, so that clients do not return all at once. */
function retryDelay(failures: number, error: Error): number {
  return retryAfterMs(error) + (0.5 + Math.random() / 2) * Math.min(30_000, 1_000 * 2 ** failures);
}

/** Rendering a page on a server must not wait for an API that is down. */
const SERVER_TIME_LIMIT_MS = 3_000;
const rendersOnServer = typeof window === "undefined";

const live = {
  // Events keep the cache fresh, so nothing is fetched again because of age, focus or reconnection.
  staleTime: Number.POSITIVE_INFINITY,
  // A list that was invalidated while it was off screen.
  refetchOnMount: true,
  refetchOnWindowFocus: false,
  refetchOnReconnect: false,
  networkMode: "always",
  retry: rendersOnServer ? (false as const) : isWorthRetrying,
  retryDelay,
} as const;

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
    // An older server has no previous pages.
    getPreviousPageParam: (page) => ("comments" in page && page.previous_cursor) || null,
    ...live,
  };
}

/** Fetches what the server made for this user. If it is for another user, a token function gets one chance to refresh. */
async function forViewer<P extends Pick<Page, "viewer">>(
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

export interface CommentsContext extends QueryContext {
  /** The comment that the first page is read around. By default the first page is that of the oldest comments. */
  around?: number | undefined;
}

/** A discussion's comments as trees, oldest first. */
export function commentsQuery(discussionId: number, context: CommentsContext): PagesQuery<CommentPage> {
  const { around, pageSize: limit = 100, user } = context;
  return pagesQuery(keys.comments(user, discussionId, around), context, (cursor, options) => {
    const place = cursor.cursor !== undefined || around === undefined ? cursor : { around };
    return listComments(discussionId, { ...place, limit }, options);
  });
}

/**
 * One discussion, in a page of its own. The comments' page is read first, because it has the viewer and the `last_event_id` up
 * to which the discussion is current.
 */
export function discussionQuery(discussionId: number, context: QueryContext): PagesQuery<DiscussionPage> {
  return pagesQuery<DiscussionPage>(keys.discussion(context.user, discussionId), context, async (_, options) => {
    const { last_event_id, viewer } = await listComments(discussionId, { limit: 1 }, options);
    return { discussions: [await getDiscussion(discussionId, options)], last_event_id, viewer, next_cursor: null };
  });
}

/**
 * The summary of an article in a community. A page of the list is read first, because it has the viewer and the `last_event_id` up to
 * which the summary is current.
 */
export function summaryQuery(scope: SummaryScope, { config, user }: QueryContext) {
  const place = { community_id: scope.communityId };
  const read = async (options: RequestInit): Promise<SummarySnapshot> => {
    const { last_event_id, viewer } = await listDiscussions(scope.articleId, { ...place, limit: 1 }, options);
    const summary = await getSummary(scope.articleId, place, options).catch((error: unknown) => {
      // An older server has no summaries.
      if (isApiError(error, "summary_not_found") || isApiError(error, "not_found")) return null;
      throw error;
    });
    return { summary, viewer, last_event_id };
  };
  return {
    queryKey: keys.summary(user, scope) as readonly unknown[],
    queryFn: ({ signal }: { signal: AbortSignal }) => forViewer(user, config, signal, read),
    ...live,
  };
}

/** What is unread: the sums, and the newest discussions with something unread. */
export function unreadQuery(
  { communityId, articleId, followed }: UnreadScope,
  { config, user, pageSize = 100 }: QueryContext,
) {
  const scope = {
    ...(followed && { followed }),
    ...(communityId !== undefined && { community_id: communityId }),
    ...(articleId !== undefined && { article_id: articleId }),
  };
  return {
    queryKey: keys.unread(user, { communityId, articleId, followed }),
    queryFn: ({ signal }: { signal: AbortSignal }): Promise<Unread> =>
      listUnread({ ...scope, limit: pageSize }, callOptions(config, { signal })),
    ...live,
  };
}

/** The most pages that are read of what a user follows on one article. */
const FOLLOW_PAGES = 10;

/** What the user follows of an article: all of it, in one list. */
export function followsQuery(scope: FollowScope, { config, user }: QueryContext) {
  const read = (cursor: string | null, signal: AbortSignal) =>
    listFollows(
      {
        article_id: scope.articleId,
        community_id: scope.communityId,
        limit: 100,
        ...(cursor !== null && { cursor }),
      },
      callOptions(config, { signal }),
    );
  return {
    queryKey: keys.follows(user, scope),
    queryFn: async ({ signal }: { signal: AbortSignal }): Promise<Follows> => {
      let list = await read(null, signal);
      for (let pages = 1; list.next_cursor !== null && pages < FOLLOW_PAGES; pages += 1) {
        const next = await read(list.next_cursor, signal);
        // The pages are as current as the oldest of them.
        list = { ...next, follows: [...list.follows, ...next.follows], last_event_id: list.last_event_id };
      }
      return list;
    },
    ...live,
  };
}

/** The user's notifications, newest first. */
export function notificationsQuery(
  { unread }: NotificationScope,
  { config, user, pageSize: limit = 20 }: QueryContext,
) {
  return {
    queryKey: keys.notifications(user, { unread }) as readonly unknown[],
    queryFn: ({ pageParam, signal }: { pageParam: string | null; signal: AbortSignal }): Promise<Notifications> => {
      const cursor = pageParam === null ? {} : { cursor: pageParam };
      return listNotifications({ ...(unread && { unread }), ...cursor, limit }, callOptions(config, { signal }));
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page: Notifications) => page.next_cursor,
    ...live,
  };
}

/** Who can be mentioned is fetched again after this. */
export const MEMBERS_STALE_MS = 60_000;

/** Whom one can mention: those whose handle begins with the prefix, 20 at most. */
export function membersQuery(scope: MemberScope, prefix: string, { config, user }: QueryContext) {
  const { communityId, articleId } = scope;
  const place = articleId === undefined ? {} : { article_id: articleId };
  return {
    ...live,
    queryKey: keys.members(user, scope, prefix),
    queryFn: ({ signal }: { signal: AbortSignal }): Promise<CommunityMembers> =>
      fetchMembers(communityId, { ...(prefix !== "" && { prefix }), ...place }, callOptions(config, { signal })),
    staleTime: MEMBERS_STALE_MS,
  };
}

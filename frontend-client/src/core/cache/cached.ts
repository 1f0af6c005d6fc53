import type { InfiniteData, Query, QueryClient } from "@tanstack/react-query";
import type { Discussion, DiscussionPage, Summary, UnreadDiscussion } from "../generated/api.js";
import { isFollowUnknown } from "../reducers/follows.js";
import type { SummaryScope, SummarySnapshot } from "../reducers/summary.js";
import { isUnknown } from "../reducers/unread.js";
import { membershipIn } from "../viewer.js";
import { isFor, keys, subjectOf, summaryScopeOf, type Subject, type User } from "./keys.js";
import type { Page } from "./queries.js";

// What the query cache has of a user.

export type CachedPages<P extends Page = Page> = InfiniteData<P, string | null>;

/**
 * Changes a list and nothing else of its state: a list that must be fetched again is still fetched, and one that the server
 * refused stays refused. `setQueryData` would count as a successful fetch.
 */
export function replacePages(query: Query, data: CachedPages): void {
  query.setState({ data });
}

/** Whether every page was made for this user. */
export function isOwn(user: User, data: CachedPages): boolean {
  return data.pages.every((page) => isFor(user, page.viewer));
}

/** The community of a discussion, if a cached list has the discussion. */
export function communityOf(client: QueryClient, subject: Subject): number | undefined {
  return subject.kind === "comments"
    ? findDiscussion(client, subject.user, subject.discussionId)?.community_id
    : undefined;
}

/** The communities of what a cached list shows. */
export function communitiesOf(client: QueryClient, subject: Subject, data: CachedPages): number[] {
  if (subject.kind === "comments") {
    const one = communityOf(client, subject);
    return one === undefined ? [] : [one];
  }
  const { communityId } = subject.kind === "discussions" ? subject.scope : {};
  if (communityId !== undefined) return [communityId];
  const shown = (data.pages as DiscussionPage[]).flatMap((page) => page.discussions.map((one) => one.community_id));
  return [...new Set(shown)];
}

/** The article of what a cached list shows, if it is known. */
export function articleOf(client: QueryClient, queryKey: readonly unknown[]): number | undefined {
  const subject = subjectOf(queryKey);
  if (!subject) return undefined;
  if (subject.kind === "discussions") return subject.scope.articleId;
  return findDiscussion(client, subject.user, subject.discussionId)?.article_id;
}

/** Whether a cached list shows something of a community in which the user is no member. */
export function isShownToStranger(client: QueryClient, user: User, communityId: number): boolean {
  const isStranger = ({ viewer }: Pick<Page, "viewer">) => membershipIn(viewer, communityId) === undefined;
  const isListed = cached(client, user).some(
    ([, subject, data]) => communitiesOf(client, subject, data).includes(communityId) && data.pages.every(isStranger),
  );
  return (
    isListed || summaries(client, user).some(([, scope, one]) => scope.communityId === communityId && isStranger(one))
  );
}

/** A discussion in one of the user's cached lists. */
export function findDiscussion(client: QueryClient, user: User, discussionId: number): Discussion | undefined {
  return findPageOf(client, user, discussionId)?.discussions[0];
}

/** What a cached discussion has unread. Null if the viewer is no member or does not follow it, undefined if it is unknown. */
export function unreadIn(
  client: QueryClient,
  user: User,
  discussionId: number,
  isFollowedOnly = false,
): UnreadDiscussion | null | undefined {
  const found = findDiscussion(client, user, discussionId);
  if (!found || found.is_unread === undefined || isUnknown(found)) return undefined;
  if (isFollowedOnly && isFollowUnknown(found)) return undefined;
  if (isFollowedOnly && !found.is_followed) return null;
  if (found.is_unread === null || found.unread_count === null || found.topic === null) return null;
  const { id, community_id, article_id, topic, is_unread, unread_count, first_unread_comment_id, comment_version } =
    found;
  return { id, community_id, article_id, topic, is_unread, unread_count, first_unread_comment_id, comment_version };
}

/** The same discussion in a page of its own, with the cursor of its list. */
export function findPageOf(client: QueryClient, user: User, discussionId: number): DiscussionPage | undefined {
  for (const [, subject, data] of cached(client, user)) {
    if (subject.kind === "comments" || !isOwn(user, data)) continue;
    for (const page of data.pages as DiscussionPage[]) {
      const found = page.discussions.find((discussion) => discussion.id === discussionId);
      if (found) return { ...page, discussions: [found], next_cursor: null };
    }
  }
  return undefined;
}

/** The user's cached summaries. */
export function summaries(client: QueryClient, user: User): [Query, SummaryScope, SummarySnapshot][] {
  return client
    .getQueryCache()
    .findAll({ queryKey: keys.all(user) })
    .flatMap((query) => {
      const { scope } = summaryScopeOf(query.queryKey) ?? {};
      const data = query.state.data as SummarySnapshot | undefined;
      return scope && data ? [[query, scope, data] as [Query, SummaryScope, SummarySnapshot]] : [];
    });
}

/** Shows a summary that is newer than the cached one. Its event may come later. */
export function showSummary(client: QueryClient, user: User, summary: Summary): void {
  for (const [query, { articleId, communityId }, snapshot] of summaries(client, user)) {
    const isOf = summary.article_id === articleId && summary.community_id === communityId;
    if (isOf && summary.revision > (snapshot.summary?.revision ?? 0))
      query.setState({ data: { ...snapshot, summary } });
  }
}

/** The user's cached lists. */
export function cached(client: QueryClient, user: User): [Query, Subject, CachedPages][] {
  return client
    .getQueryCache()
    .findAll({ queryKey: keys.all(user) })
    .flatMap((query) => {
      const subject = subjectOf(query.queryKey);
      const data = query.state.data as CachedPages | undefined;
      return subject && data ? [[query, subject, data] as [Query, Subject, CachedPages]] : [];
    });
}

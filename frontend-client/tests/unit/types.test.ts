import type { InfiniteData } from "@tanstack/react-query";
import { expectTypeOf, test } from "vitest";
import {
  useComments,
  useDiscussions,
  useDiscussionsQueryOptions,
  useFollow,
  useMention,
  useNotifications,
  useSummary,
  useWatch,
  type DiscussionItem,
  type SummaryItem,
} from "../../src/react/index.js";
import { commentsQuery, discussionsQuery } from "../../src/server.js";
import type { CommentPage, CommunityMember, DiscussionPage, FollowLevel, Notification } from "../../src/index.js";

/** The compiler checks this file, against the lowest and the newest version of TanStack Query. */
test("no type becomes any", () => {
  expectTypeOf(discussionsQuery).returns.not.toBeAny();
  expectTypeOf(discussionsQuery).returns.toHaveProperty("queryKey").not.toBeAny();
  expectTypeOf(commentsQuery).returns.toHaveProperty("queryFn").returns.resolves.toEqualTypeOf<CommentPage>();
  expectTypeOf(useDiscussionsQueryOptions).returns.not.toBeAny();
  expectTypeOf<InfiniteData<DiscussionPage>>().not.toBeAny();
  expectTypeOf(useDiscussions).returns.toHaveProperty("discussions").toEqualTypeOf<DiscussionItem[]>();
  expectTypeOf(useDiscussions).returns.toHaveProperty("fetchMore").not.toBeAny();
  expectTypeOf(useComments).returns.toHaveProperty("refetch").not.toBeAny();
  expectTypeOf(useFollow).returns.toHaveProperty("level").toEqualTypeOf<FollowLevel | null>();
  expectTypeOf(useFollow)
    .parameter(0)
    .toEqualTypeOf<{ discussionId: number } | { articleId: number; communityId: number }>();
  expectTypeOf(useNotifications).returns.toHaveProperty("notifications").toEqualTypeOf<Notification[]>();
  expectTypeOf(useNotifications).returns.toHaveProperty("fetchMore").not.toBeAny();
  expectTypeOf(useMention).returns.toHaveProperty("candidates").toEqualTypeOf<CommunityMember[]>();
  expectTypeOf(useSummary).returns.toHaveProperty("summary").toEqualTypeOf<SummaryItem | null | undefined>();
  expectTypeOf(useSummary).returns.toHaveProperty("refetch").not.toBeAny();
  expectTypeOf(useWatch).returns.toEqualTypeOf<readonly number[]>();
});

import type { InfiniteData } from "@tanstack/react-query";
import { expectTypeOf, test } from "vitest";
import { useComments, useDiscussions, useDiscussionsQueryOptions, type DiscussionItem } from "../../src/react/index.js";
import { commentsQuery, discussionsQuery } from "../../src/server.js";
import type { CommentPage, DiscussionPage } from "../../src/index.js";

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
});

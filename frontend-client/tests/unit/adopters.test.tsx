// @vitest-environment happy-dom
import { useInfiniteQuery, useSuspenseInfiniteQuery } from "@tanstack/react-query";
import { act, Suspense } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ApiError } from "../../src/index.js";
import {
  useComments,
  useCommentsQueryOptions,
  useDiscussions,
  useDiscussionsQueryOptions,
  useIsLeader,
  useMutate,
  useRealtimeEvents,
  type Mutate,
} from "../../src/react/index.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;

beforeEach(() => {
  localStorage.clear();
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", grace);
});

afterEach(() => page.close());

async function happen(change: () => unknown, ...pages: TestPage[]) {
  await act(async () => void change());
  page.server.deliver();
  for (const one of [page, ...pages]) await one.settle();
}

test("useMutate never throws, says that it is pending, and has the error of a refusal but not of an undo", async () => {
  const told: unknown[] = [];
  let thread!: ReturnType<typeof useComments>;
  let create!: Mutate<Parameters<typeof thread.create>>;
  let remove!: Mutate<Parameters<typeof thread.remove>>;
  function Probe() {
    thread = useComments(1);
    create = useMutate(thread.create, {
      onSuccess: (comment) => told.push(comment.id),
      onError: (error) => told.push(error),
    });
    remove = useMutate(thread.remove, { onError: (error) => told.push(error) });
    return null;
  }
  // The application's defaults do not hold a write back while the browser calls itself offline.
  page.queryClient.setDefaultOptions({ mutations: { networkMode: "online", retry: 3 } });
  await page.show(<Probe />);
  let answer = () => {};
  page.server.writesAfter = new Promise((resolve) => (answer = resolve));
  await happen(() => create.mutate({ text: "first" }));
  expect([create.isPending, create.error, thread.comments[0]?.text]).toEqual([true, null, "first"]);
  await happen(() => answer());
  expect([create.isPending, create.error, told]).toEqual([false, null, [1]]);
  page.server.trouble = (_, method) => (method === "POST" ? coded(422, "invalid_fields") : undefined);
  await happen(() => create.mutate({ text: "refused" }));
  expect(create).toMatchObject({ isPending: false, error: { code: "invalid_fields" } });
  expect(told).toHaveLength(2);
  await happen(() => create.reset());
  expect(create.error).toBe(null);
  await happen(() => remove.mutate(1, { undoMs: 5_000 }));
  await happen(() => thread.discard(thread.comments[0]?.undo ?? ""));
  expect([remove.isPending, remove.error, told.length]).toEqual([false, null, 2]);
});

test("a new discussion is in the hook's community, unless it names another one", async () => {
  let list!: ReturnType<typeof useDiscussions>;
  let all!: ReturnType<typeof useDiscussions>;
  function Probe() {
    list = useDiscussions(ARTICLE, { communityId: COMMUNITY });
    all = useDiscussions(ARTICLE);
    return null;
  }
  await page.show(<Probe />);
  await happen(() => list.create({ topic: "here", text: "text" }));
  expect(list.discussions[0]).toMatchObject({ topic: "here", community_id: COMMUNITY, pending: false });
  await expect(all.create({ topic: "where?", text: "text" })).rejects.toThrow("community_id");
});

test("the query options work with suspense and with select, and both are live", async () => {
  const shown: string[] = [];
  let renders = 0;
  function Topics() {
    const { data } = useSuspenseInfiniteQuery(useDiscussionsQueryOptions(ARTICLE, { communityId: COMMUNITY }));
    shown.push(data.pages.flatMap((one) => one.discussions.map(({ topic }) => topic)).join());
    return null;
  }
  function Count() {
    renders += 1;
    const { data } = useInfiniteQuery({
      ...useCommentsQueryOptions(1),
      select: ({ pages }) => pages.reduce((sum, one) => sum + one.comments.length, 0),
    });
    if (data !== undefined) shown.push(`${data} comments`);
    return null;
  }
  function Waiting() {
    shown.push("waiting");
    return null;
  }
  await page.show(
    <>
      <Suspense fallback={<Waiting />}>
        <Topics />
      </Suspense>
      <Count />
    </>,
  );
  expect([shown[0], shown.includes("topic"), shown.includes("0 comments")]).toEqual(["waiting", true, true]);
  const { model } = page.server;
  await happen(() => model.createDiscussion("another", "text", grace));
  expect(shown).toContain("another,topic");
  await happen(() => model.createComment(1, null, "first", grace));
  expect(shown).toContain("1 comments");
  const before = renders;
  await happen(() => model.updateComment(1, "edited"));
  expect(renders).toBe(before);
});

test("events can be told by type and article, and once for the whole browser", async () => {
  const other = new TestPage(page.server, page.browser);
  const heard: string[] = [];
  const leaders = new Map<string, boolean>();
  function Probe({ tab }: { tab: string }) {
    leaders.set(tab, useIsLeader());
    useRealtimeEvents(({ comment_id }) => heard.push(`${tab}: comment ${comment_id}`), {
      types: ["new_comment"],
      articleId: ARTICLE,
    });
    useRealtimeEvents(({ type }) => heard.push(`${tab}: elsewhere ${type}`), { articleId: ARTICLE + 1 });
    useRealtimeEvents(({ type }) => heard.push(`${tab}: once ${type}`), { once: "browser" });
    return null;
  }
  await page.show(<Probe tab="first" />);
  await other.show(<Probe tab="second" />);
  expect(Object.fromEntries(leaders)).toEqual({ first: true, second: false });
  const { model } = page.server;
  await happen(() => model.createComment(1, null, "text", grace), other);
  await happen(() => model.updateComment(1, "edited"), other);
  expect(heard.sort()).toEqual([
    "first: comment 1",
    "first: once new_comment",
    "first: once updated_comment",
    "second: comment 1",
  ]);
  await page.hide();
  await other.settle();
  expect(leaders.get("second")).toBe(true);
  heard.length = 0;
  await happen(() => model.createComment(1, null, "text", grace), other);
  expect(heard).toEqual(["second: comment 2", "second: once new_comment"]);
  await other.close();
});

test("the provider's onError hears why a fetch or a write failed, also one that the outbox sent by itself", async () => {
  const errors: unknown[] = [];
  let thread!: ReturnType<typeof useComments>;
  function Probe() {
    thread = useComments(1);
    return null;
  }
  const onError = (error: Error) => errors.push((error as ApiError).code);
  page.server.trouble = (_, method) => (method === "POST" ? "down" : undefined);
  await page.show(<Probe />);
  await happen(() => thread.create({ text: "waits" }).catch(() => undefined));
  await page.close();
  page = new TestPage(page.server);
  page.server.trouble = (path) => (path.endsWith("/comments") ? coded(403, "not_a_member") : undefined);
  await page.show(<Probe />, 1, {}, { onError });
  expect(errors.sort()).toEqual(["not_a_member", "not_a_member"]);
  expect(page.server.count(/comments$/, "POST")).toBeGreaterThan(0);
  page.server.trouble = undefined;
  await happen(() => page.server.model.createComment(1, null, "text", grace));
  await happen(() => thread.remove(1, { undoMs: 5_000 }).catch(() => undefined));
  await happen(() => thread.discard(thread.comments[0]?.undo ?? ""));
  expect(errors).toHaveLength(2);
});

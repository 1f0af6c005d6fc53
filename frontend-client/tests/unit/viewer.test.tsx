// @vitest-environment happy-dom
import { QueryClient, dehydrate, hydrate } from "@tanstack/react-query";
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { TokenRequest } from "../../src/index.js";
import { useComments, useDiscussions, useReconnect, useRealtimeStatus } from "../../src/react/index.js";
import { commentsQuery, discussionsQuery } from "../../src/server.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;
let list: ReturnType<typeof useDiscussions>;
let thread: ReturnType<typeof useComments>;
let status: ReturnType<typeof useRealtimeStatus>;
let reconnect: () => void;
/** The users whose pages were on screen at any time. */
let shown: Set<number | null | undefined>;

function Probe() {
  list = useDiscussions(ARTICLE, { communityId: COMMUNITY });
  thread = useComments(1);
  status = useRealtimeStatus();
  reconnect = useReconnect();
  if (list.discussions.length > 0) shown.add(list.viewer?.user_id ?? null);
  if (thread.comments.length > 0) shown.add(thread.viewer?.user_id ?? null);
  return null;
}

beforeEach(() => {
  page = new TestPage();
  shown = new Set();
  page.server.model.createDiscussion("topic", "text", grace);
  page.server.model.createComment(1, null, "first", grace);
});

afterEach(async () => {
  await page.close();
  expect(page.server.parked).toEqual([]);
  expect(page.browser.timers.waiting.size).toBe(0);
});

const tokens = () => page.server.requests.map((request) => request.headers.get("authorization"));

test("after a change of user no call carries the previous user's token", async () => {
  await page.show(<Probe />, 1);
  page.server.requests.length = 0;
  await page.show(<Probe />, 2);
  expect(shown).toEqual(new Set([1, 2]));
  // The first user's queue is still closed with the first user's token.
  const others = page.server.requests.filter((request) => !request.path.startsWith("/queues/"));
  expect(new Set(others.map((request) => request.headers.get("authorization")))).toEqual(new Set(["Bearer user-2"]));
  page.server.requests.length = 0;
  await page.show(<Probe />, null, { token: "user-2" });
  const anonymous = page.server.requests.filter((request) => !request.path.startsWith("/queues/"));
  expect(anonymous.length).toBeGreaterThan(0);
  expect(new Set(anonymous.map((request) => request.headers.get("authorization")))).toEqual(new Set([null]));
});

test("a page that the server made for another user is never shown, and is fetched again with a fresh token", async () => {
  let current = "user-1";
  const token = ({ refresh }: TokenRequest) => {
    if (refresh) current = "user-2";
    return current;
  };
  await page.show(<Probe />, 2, { token });
  expect(shown).toEqual(new Set([2]));
  expect(list.access).toEqual({ state: "granted" });
  expect(status.state).toBe("live");
});

test("with a token that stays another user's, nothing is shown, the user must sign in, and the other's queue is not used", async () => {
  const config = { fetch: page.server.fetch, token: "user-1" };
  // Retries are off, because the page would retry for some seconds.
  page.queryClient.setDefaultOptions({ queries: { retry: false } });
  await page.queryClient.prefetchInfiniteQuery({
    ...discussionsQuery({ articleId: ARTICLE, communityId: COMMUNITY }, { config, user: 2 }),
    retry: false,
  });
  expect(page.queryClient.getQueryCache().getAll()[0]?.state.error).toMatchObject({
    name: "WrongViewerError",
    expected: 2,
    actual: 1,
  });
  await page.show(<Probe />, 2, config);
  expect(shown).toEqual(new Set());
  expect(status.state).not.toBe("live");
  expect(page.server.parked).toEqual([]);
});

test("a page that a server prefetched without the user's cookie is not shown as theirs", async () => {
  const onServer = new QueryClient();
  const context = { config: { fetch: page.server.fetch, token: "anonymous" }, user: "1" };
  await onServer.prefetchInfiniteQuery({
    ...discussionsQuery({ articleId: ARTICLE, communityId: COMMUNITY }, context),
    retry: false,
  });
  expect(dehydrate(onServer).queries).toEqual([]);
  // An older version of the package on the server may still pass it on.
  const foreign = { pages: [page.server.model.commentPage(1, null, 10, null)], pageParams: [null] };
  onServer.setQueryData(commentsQuery(1, context).queryKey, foreign);
  hydrate(page.queryClient, JSON.parse(JSON.stringify(dehydrate(onServer))));
  await page.show(<Probe />, 1);
  expect(shown).toEqual(new Set([1]));
  expect(thread.comments.map((comment) => comment.text)).toEqual(["first"]);
  expect(page.server.count(/comments$/, "GET")).toBe(1);
});

test("a user id that is a number on the server and a string in the browser is the same user", async () => {
  const onServer = new QueryClient();
  const context = { config: { fetch: page.server.fetch, token: "user-1" }, user: 1 };
  await onServer.prefetchInfiniteQuery(discussionsQuery({ articleId: ARTICLE, communityId: COMMUNITY }, context));
  await onServer.prefetchInfiniteQuery(commentsQuery(1, context));
  hydrate(page.queryClient, JSON.parse(JSON.stringify(dehydrate(onServer))));
  page.server.requests.length = 0;
  await page.show(<Probe />, "1");
  expect(thread.comments).toHaveLength(1);
  expect(page.server.count(/comments$|discussions$/, "GET")).toBe(0);
  expect(status.state).toBe("live");
});

test("calls that meet the same expired token share one refresh", async () => {
  const asked: boolean[] = [];
  let current = "expired";
  let answer = () => {};
  const token = async ({ refresh }: TokenRequest) => {
    asked.push(refresh);
    if (refresh) {
      await new Promise<void>((resolve) => (answer = resolve));
      current = "user-1";
    }
    return current;
  };
  page.server.trouble = (_, __, headers) =>
    headers.get("authorization") === "Bearer expired" ? coded(401, "token_expired") : undefined;
  await page.show(<Probe />, 1, { token });
  const refused = tokens().filter((one) => one === "Bearer expired").length;
  expect(refused).toBeGreaterThanOrEqual(3);
  answer();
  await page.settle();
  expect(asked.filter((refresh) => refresh)).toHaveLength(1);
  expect(status.state).toBe("live");
  expect(thread.comments).toHaveLength(1);
});

test("after signed_out, reconnect() or a new token connects again", async () => {
  let valid = false;
  page.server.trouble = (_, __, headers) =>
    valid || headers.get("authorization") === "Bearer user-1-new" ? undefined : coded(401, "token_expired");
  await page.show(<Probe />, 1);
  expect(status).toEqual({ state: "signed_out", code: "token_expired" });
  expect(list.access).toEqual({ state: "denied", reason: "sign_in" });
  // A new inline function at each render with the same token does not reconnect.
  const before = page.server.requests.length;
  await page.show(<Probe />, 1, { token: () => "user-1" });
  expect(page.server.requests.length).toBe(before);
  await page.show(<Probe />, 1, { token: "user-1-new" });
  expect(status.state).toBe("live");
  expect(list.discussions).toHaveLength(1);

  await page.show(<Probe />, null);
  await page.show(<Probe />, 1);
  expect(status.state).toBe("signed_out");
  valid = true;
  await act(async () => reconnect());
  await page.settle();
  expect(status.state).toBe("live");
  expect(thread.comments).toHaveLength(1);
});

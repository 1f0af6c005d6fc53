// @vitest-environment happy-dom
import { QueryClient, dehydrate, hydrate } from "@tanstack/react-query";
import { act } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { useComments, useDiscussions } from "../../src/react/index.js";
import { discussionsQuery } from "../../src/server.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;
let list: ReturnType<typeof useDiscussions>;
let other: ReturnType<typeof useDiscussions>;
let thread: ReturnType<typeof useComments>;

function Probe() {
  list = useDiscussions(ARTICLE, { communityId: COMMUNITY, pageSize: 20 });
  other = useDiscussions(ARTICLE, { communityId: COMMUNITY + 1 });
  thread = useComments(1, { pageSize: 2 });
  return null;
}

beforeEach(() => {
  localStorage.clear();
  page = new TestPage();
  for (let count = 1; count <= 25; count += 1) page.server.model.createDiscussion(`topic ${count}`, "text", grace);
});

afterEach(() => page.close());

const topics = () => list.discussions.map((one) => one.topic);

test("a server's snapshot that is hydrated over a newer list gets the events in between", async () => {
  const onServer = new QueryClient();
  await page.show(<Probe />);
  const context = { config: { fetch: page.server.fetch, token: "user-1" }, user: 1 };
  await onServer.prefetchInfiniteQuery(discussionsQuery({ articleId: ARTICLE, communityId: COMMUNITY }, context));
  const state = JSON.parse(JSON.stringify(dehydrate(onServer))) as ReturnType<typeof dehydrate>;
  page.server.model.createDiscussion("in between", "text", grace);
  page.server.deliver();
  await page.settle();
  expect(topics()[0]).toBe("in between");
  for (const query of state.queries) query.state.dataUpdatedAt = Date.now() + 60_000;
  await act(async () => hydrate(page.queryClient, state));
  await page.settle();
  expect(topics()[0]).toBe("in between");
});

test("if loading the next page is refused, the loaded pages stay", async () => {
  await page.show(<Probe />);
  expect(list.hasMore).toBe(true);
  page.server.trouble = (path, method) =>
    method === "GET" && path.endsWith("/discussions") ? coded(401, "token_expired") : undefined;
  await act(async () => void list.fetchMore());
  await page.settle();
  expect(list.error).toMatchObject({ code: "token_expired" });
  expect(list.access).toEqual({ state: "granted" });
  expect(topics()).toHaveLength(20);
});

test("a thread whose root goes on over pages is one tree, and stays live", async () => {
  const { model } = page.server;
  model.createComment(1, null, "root", grace);
  for (let reply = 0; reply < 25; reply += 1) model.createComment(1, reply < 20 ? 1 : 2, `reply ${reply}`, grace);
  await page.show(<Probe />);
  const replies = () => thread.comments[0]?.replies.map((one) => one.text);
  expect([replies()?.length, thread.hasMore]).toEqual([9, true]);
  // It belongs on a page that is not loaded yet.
  model.createComment(1, 1, "late", grace);
  page.server.deliver();
  await page.settle();
  expect(replies()).toHaveLength(9);
  while (thread.hasMore) {
    await act(async () => void thread.fetchMore());
    await page.settle();
  }
  model.createComment(1, 1, "live", grace);
  page.server.deliver();
  await page.settle();
  expect(thread.comments).toHaveLength(1);
  expect(replies()).toHaveLength(22);
  expect(replies()?.slice(-2)).toEqual(["late", "live"]);
  expect(thread.comments[0]?.replies[0]?.replies.map((one) => one.text)).toHaveLength(5);
  expect(thread.comments[0]).toMatchObject({ text: "root", key: "1" });
});

test("a new discussion shows in its community's list only", async () => {
  await page.show(<Probe />);
  page.server.trouble = (_, method) => (method === "POST" ? "down" : undefined);
  await act(
    async () => void list.create({ community_id: COMMUNITY, topic: "hidden", text: "text" }).catch(() => undefined),
  );
  expect(topics()[0]).toBe("hidden");
  expect(other.discussions.map((one) => one.topic)).not.toContain("hidden");
});

test("a membership that came back while the page was offline is no longer shown as lost", async () => {
  await page.show(<Probe />);
  const { server } = page;
  server.trouble = (path, method) =>
    method === "GET" && /comments$|discussions$/.test(path) ? coded(403, "not_a_member") : undefined;
  server.model.membership(1, null);
  server.deliver();
  await page.settle();
  expect(list.access.state).toBe("removed");
  // The page is offline until the server requires a catch-up, and the user becomes a member again meanwhile.
  server.trouble = undefined;
  server.model.membership(1, "member");
  server.forgotten = server.model.head;
  server.expire();
  await page.settle();
  expect(list.access).toEqual({ state: "granted" });
  expect(thread.access).toEqual({ state: "granted" });
  expect(topics()).toHaveLength(20);
});

test("for a reader who is no member the list is not live, and it is refreshed from time to time", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  try {
    await page.show(<Probe />);
    expect([list.isLive, thread.isLive]).toEqual([true, true]);
    page.server.viewer = { user_id: 1, memberships: [] };
    await page.show(<Probe />, 3);
    expect([list.isLive, thread.isLive]).toEqual([false, false]);
    page.server.model.createDiscussion("nobody told", "text", grace);
    expect(topics()[0]).toBe("topic 25");
    await act(async () => void vi.advanceTimersByTime(60_000));
    await page.settle();
    expect(topics()[0]).toBe("nobody told");
  } finally {
    vi.useRealTimers();
  }
});

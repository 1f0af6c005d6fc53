// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { VoteValue } from "../../src/index.js";
import { useComments, useDiscussion, useDiscussions } from "../../src/react/index.js";
import { settle } from "../support/fake-environment.js";
import { ARTICLE, coded, READER } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;
let thread: ReturnType<typeof useComments>;
let list: ReturnType<typeof useDiscussions>;
let one: ReturnType<typeof useDiscussion>;

function Probe() {
  thread = useComments(1);
  list = useDiscussions(ARTICLE);
  one = useDiscussion(1);
  return null;
}

beforeEach(async () => {
  localStorage.clear();
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", grace);
  page.server.model.createComment(1, null, "theirs", grace);
  page.server.model.createComment(1, 1, "a reply", grace);
  await page.show(<Probe />);
});

afterEach(async () => {
  await page.close();
  expect(page.browser.timers.waiting.size).toBe(0);
});

const votes = (item: { upvotes: number; downvotes: number; own_vote: VoteValue | null } | undefined) =>
  [item?.upvotes, item?.downvotes, item?.own_vote] as const;
const sent = () => page.server.requests.filter(({ method }) => method === "PUT").length;

async function deliver(): Promise<void> {
  page.server.deliver();
  await page.settle();
}

test("a vote shows at once wherever the item is, and once with its event", async () => {
  let answer = () => {};
  page.server.writesAfter = new Promise((resolve) => (answer = resolve));
  await act(async () => {
    void thread.vote(2, 1);
    void one.vote(-1);
    await settle();
  });
  const shown = () => [votes(thread.comments[0]?.replies[0]), votes(list.discussions[0]), votes(one.discussion)];
  const expected = [
    [1, 0, 1],
    [0, 1, -1],
    [0, 1, -1],
  ];
  expect(shown()).toEqual(expected);
  expect(votes(thread.comments[0])).toEqual([0, 0, 0]);
  await act(async () => {
    answer();
    await settle();
  });
  expect(shown()).toEqual(expected);
  page.server.model.vote("comments", 2, 3, 1);
  await deliver();
  expect(shown()).toEqual([[2, 0, 1], ...expected.slice(1)]);
  // What others vote shows too, and one's own vote is no longer put on top of what the cache has.
  page.server.model.vote("discussions", 1, READER, 0);
  await deliver();
  expect(shown()).toEqual([
    [2, 0, 1],
    [0, 0, 0],
    [0, 0, 0],
  ]);
});

test("of several clicks the last one counts, and no two votes on one item are under way", async () => {
  let answer = () => {};
  page.server.writesAfter = new Promise((resolve) => (answer = resolve));
  const clicks: VoteValue[] = [1, 0, 1, -1];
  let results: Promise<{ own_vote: VoteValue }[]> | undefined;
  await act(async () => {
    results = Promise.all(clicks.map((value) => thread.vote(1, value)));
    await settle();
  });
  expect(sent()).toBe(1);
  expect(votes(thread.comments[0])).toEqual([0, 1, -1]);
  await act(async () => {
    answer();
    await settle();
  });
  expect(sent()).toBe(2);
  expect((await results)?.map(({ own_vote }) => own_vote)).toEqual([-1, -1, -1, -1]);
  await deliver();
  expect(votes(thread.comments[0])).toEqual([0, 1, -1]);
});

test("a later vote in another tab wins, also if its event comes before the answer", async () => {
  let answer = () => {};
  page.server.writesAfter = new Promise((resolve) => (answer = resolve));
  await act(async () => {
    void thread.vote(1, 1);
    await settle();
    page.server.model.vote("comments", 1, READER, -1);
    page.server.deliver();
    await settle();
  });
  await act(async () => {
    answer();
    await settle();
  });
  await deliver();
  expect(votes(thread.comments[0])).toEqual([0, 1, -1]);
});

test("a refused vote is taken back, and one that cannot be sent is sent later", async () => {
  page.server.trouble = (_path, method) => (method === "PUT" ? coded(403, "vote_on_own") : undefined);
  await act(async () => {
    await expect(thread.vote(1, 1)).rejects.toMatchObject({ code: "vote_on_own" });
    await settle();
  });
  expect(votes(thread.comments[0])).toEqual([0, 0, 0]);

  page.server.trouble = (_path, method) => (method === "PUT" ? "down" : undefined);
  let result: Promise<unknown> | undefined;
  await act(async () => {
    result = thread.vote(1, 1);
    await settle();
  });
  expect(votes(thread.comments[0])).toEqual([1, 0, 1]);
  page.server.trouble = undefined;
  await act(async () => {
    void thread.vote(1, 1);
    await settle();
    await result;
  });
  await deliver();
  expect(votes(thread.comments[0])).toEqual([1, 0, 1]);
  expect(page.server.model.comments[0]).toMatchObject({ upvotes: 1, own_vote: 1 });
});

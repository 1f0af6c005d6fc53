// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { useComments, useDiscussions, useRealtimeEvents } from "../../src/react/index.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;
let thread: ReturnType<typeof useComments>;
let heard: number[];

function List() {
  useDiscussions(ARTICLE, { communityId: COMMUNITY });
  return null;
}

function Thread() {
  thread = useComments(1, { communityId: COMMUNITY });
  return null;
}

/** A list that no event moves, so its cursor stays old. */
function Quiet() {
  useComments(2, { communityId: COMMUNITY });
  return null;
}

function Listener() {
  useRealtimeEvents(({ event_id }) => heard.push(event_id));
  return null;
}

beforeEach(() => {
  localStorage.clear();
  heard = [];
  page = new TestPage();
  page.server.model.createDiscussion("this", "text", grace);
  page.server.model.createDiscussion("another", "text", grace);
  page.server.model.createComment(1, null, "first", grace);
});

afterEach(() => page.close());

async function happen(change: () => unknown) {
  change();
  page.server.deliver();
  await page.settle();
}

const texts = () => thread.comments.map((comment) => comment.text);
const refuseLists = (path: string, method: string) =>
  method === "GET" && /comments$|discussions$/.test(path) ? coded(403, "not_a_member") : undefined;

test.each([{}, { refetchOnMount: false }])(
  "what was invalidated while off screen is fetched when it is shown again: %o",
  async (queries) => {
    page.queryClient.setDefaultOptions({ queries });
    const { model } = page.server;
    await page.show(<Thread />);
    await page.show(<List />);
    // Another membership may change what the user may see, so every list must be fetched again.
    await happen(() => model.membership(1, "member"));
    await happen(() => model.createComment(1, null, "second", grace));
    page.server.requests.length = 0;
    await page.show(<Thread />);
    expect(page.server.count(/comments$/, "GET")).toBe(1);
    expect(texts()).toEqual(["first", "second"]);
    await page.show(<List />);
    await page.show(<Thread />);
    expect(page.server.count(/comments$/, "GET")).toBe(1);
  },
);

test("what was hidden at a removal stays hidden, whatever happens elsewhere", async () => {
  const { model } = page.server;
  await page.show(<Thread />);
  expect(texts()).toEqual(["first"]);
  page.server.trouble = refuseLists;
  await happen(() => model.membership(1, null));
  const hidden = () => [thread.access.state, texts(), thread.error !== null];
  expect(hidden()).toEqual(["removed", [], true]);
  await happen(() => {
    for (let count = 0; count < 300; count += 1) model.createComment(2, null, `elsewhere ${count}`, grace);
  });
  expect(hidden()).toEqual(["removed", [], true]);
  // An event of the thread itself, such as one that was under way, does not show it either.
  await happen(() => model.createComment(1, null, "secret", grace));
  expect(hidden()).toEqual(["removed", [], true]);
  page.server.trouble = undefined;
  await happen(() => model.membership(1, "member"));
  expect(hidden()).toEqual(["granted", ["first", "secret"], false]);
});

test("what arrives while a list is fetched again stays, if the user leaves before the answer", async () => {
  await page.show(<Thread />);
  let answer = () => {};
  page.server.readsAfter = new Promise((resolve) => (answer = resolve));
  await act(async () => void page.queryClient.invalidateQueries());
  await happen(() => page.server.model.createComment(1, null, "arrived", grace));
  expect(texts()).toEqual(["first", "arrived"]);
  await page.show(<List />);
  await page.show(<Thread />);
  expect(texts()).toEqual(["first", "arrived"]);
  answer();
  await page.settle();
  expect(texts()).toEqual(["first", "arrived"]);
});

test("a provider that is mounted anew tells no event twice", async () => {
  const { model } = page.server;
  const both = (
    <>
      <Thread />
      <Quiet />
      <Listener />
    </>
  );
  await page.show(both);
  await happen(() => model.createComment(1, null, "second", grace));
  expect(heard).toEqual([4]);
  await page.hide();
  model.createComment(1, null, "third", grace);
  await page.show(both);
  expect(texts()).toEqual(["first", "second", "third"]);
  expect(heard).toEqual([4, 5]);
  await act(async () => page.server.expire());
  await page.settle();
  expect(heard).toEqual([4, 5]);
});

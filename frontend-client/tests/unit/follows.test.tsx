// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { FollowLevel } from "../../src/index.js";
import { useDiscussions, useFollow, useUnread } from "../../src/react/index.js";
import { FakeBrowser, settle } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import { TestPage } from "../support/react.js";

const ada = { id: 1, username: "ada", avatar_url: null };
const grace = { id: 2, username: "grace", avatar_url: null };

interface Shown {
  list: ReturnType<typeof useDiscussions>;
  one: ReturnType<typeof useFollow>;
  article: ReturnType<typeof useFollow>;
  unread: ReturnType<typeof useUnread>;
}

function Probe({ tab }: { tab: { shown: Shown } }) {
  tab.shown = {
    list: useDiscussions(ARTICLE),
    one: useFollow({ discussionId: 1 }),
    article: useFollow({ articleId: ARTICLE, communityId: COMMUNITY }),
    unread: useUnread({ followed: true }),
  };
  return null;
}

class Tab extends TestPage {
  shown!: Shown;

  async open(): Promise<this> {
    await this.show(<Probe tab={this} />);
    return this;
  }

  /** What the hook, the list and the hook of the article say, each as level and outcome. */
  get follows(): unknown[] {
    const { list, one, article } = this.shown;
    const listed = list.discussions.find(({ id }) => id === 1);
    return [
      [one.level, one.isFollowed, one.isDefault],
      [listed?.follow_level, listed?.is_followed],
      [article.level, article.isFollowed, article.isDefault],
    ];
  }
}

const said = (level: FollowLevel, of: "discussion" | "article") => {
  const followed = level === "follow";
  return of === "discussion"
    ? [
        [level, followed, false],
        [level, followed],
        ["default", false, true],
      ]
    : [
        [followed ? "follow" : "default", followed, true],
        ["default", followed],
        [level, followed, false],
      ];
};

let server: FakeServer;
let browser: FakeBrowser;
let page: Tab;
const tabs: TestPage[] = [];

async function enter(): Promise<Tab> {
  const tab = new Tab(server, browser);
  tabs.push(tab);
  return tab.open();
}

const run = (change: () => unknown) =>
  act(async () => {
    change();
    await settle();
  });
const pass = (ms: number) => act(() => browser.timers.advance(ms));
const deliver = () => run(() => server.deliver());
const sent = () => server.requests.filter(({ method }) => method === "PUT").map(({ body }) => body);
const lists = () => server.count(/discussions$/, "GET");

beforeEach(async () => {
  localStorage.clear();
  server = new FakeServer();
  browser = new FakeBrowser();
  server.model.createDiscussion("topic", "text", grace);
  page = await enter();
});

afterEach(async () => {
  for (const tab of tabs.splice(0)) await tab.close();
  expect(browser.timers.waiting.size).toBe(0);
});

test.each(["discussion", "article"] as const)(
  "what is said of the %s shows at once in every hook and tab, and once with its event, in any order",
  async (of) => {
    const other = await enter();
    const set = (level: FollowLevel) => (of === "discussion" ? page.shown.one : page.shown.article).set(level);
    expect(page.follows[0]).toEqual(["default", false, true]);
    let answer = () => {};
    server.writesAfter = new Promise((resolve) => (answer = resolve));
    await run(() => set("follow"));
    expect(page.follows).toEqual(said("follow", of));
    await deliver();
    expect([page.follows, other.follows]).toEqual([said("follow", of), said("follow", of)]);
    await run(() => answer());
    server.writesAfter = Promise.resolve();
    expect(page.follows).toEqual(said("follow", of));
    await run(() => set("mute"));
    expect(page.follows).toEqual(said("mute", of));
    await deliver();
    expect([page.follows, other.follows]).toEqual([said("mute", of), said("mute", of)]);
    await run(() => set("default"));
    await deliver();
    await pass(3_000);
    const nothing = [
      ["default", false, true],
      ["default", false],
      ["default", false, true],
    ];
    expect([page.follows, other.follows]).toEqual([nothing, nothing]);
  },
);

test("of several clicks the last one counts, and a double click is sent once", async () => {
  let answer = () => {};
  server.writesAfter = new Promise((resolve) => (answer = resolve));
  await run(() => {
    page.shown.one.follow();
    page.shown.one.follow();
  });
  expect(sent()).toEqual([{ level: "follow" }]);
  await run(() => {
    page.shown.one.mute();
    page.shown.one.reset();
    page.shown.one.mute();
  });
  expect([page.follows, page.shown.one.isPending]).toEqual([said("mute", "discussion"), true]);
  await run(() => answer());
  expect(sent()).toEqual([{ level: "follow" }, { level: "mute" }]);
  await deliver();
  expect([page.follows, page.shown.one.isPending]).toEqual([said("mute", "discussion"), false]);
});

test("what another tab says later wins, also if the answer comes last", async () => {
  let answer = () => {};
  server.writesAfter = new Promise((resolve) => (answer = resolve));
  await run(() => page.shown.one.follow());
  server.model.follow(1, "mute");
  await deliver();
  await run(() => answer());
  expect(page.follows).toEqual(said("mute", "discussion"));
});

test("a refusal is taken back and told, and what cannot be sent is sent later", async () => {
  server.trouble = (_path, method) => (method === "PUT" ? coded(403, "not_a_member") : undefined);
  await run(() => page.shown.one.follow());
  expect(page.follows[0]).toEqual(["default", false, true]);
  expect(page.shown.one.error).toMatchObject({ code: "not_a_member" });
  server.trouble = (_path, method) => (method === "PUT" ? "down" : undefined);
  await run(() => page.shown.article.mute());
  expect([page.follows, page.shown.article.error]).toEqual([said("mute", "article"), null]);
  server.trouble = undefined;
  await pass(2_000);
  await deliver();
  expect(page.follows).toEqual(said("mute", "article"));
  expect(server.model.followOf(null).level).toBe("mute");
});

test("whoever writes in a discussion follows it, and new discussions follow their article, with no further fetch", async () => {
  const before = lists();
  server.model.createComment(1, null, "mine", ada);
  server.model.createDiscussion("theirs", "text", grace);
  server.model.createDiscussion("mine", "text", ada);
  await deliver();
  const followed = () => page.shown.list.discussions.map((one) => [one.id, one.is_followed]);
  expect(followed()).toEqual([
    [3, true],
    [2, false],
    [1, true],
  ]);
  expect(page.follows[0]).toEqual(["follow", true, true]);
  server.model.follow(null, "mute");
  server.model.createDiscussion("mine, but muted", "text", ada);
  await deliver();
  expect(followed()).toEqual([
    [4, false],
    [3, false],
    [2, false],
    [1, false],
  ]);
  server.model.follow(null, "default");
  await deliver();
  expect(followed()).toEqual([
    [4, true],
    [3, true],
    [2, false],
    [1, true],
  ]);
  await pass(20_000);
  expect(lists()).toBe(before);
  // Of what was deleted since, nobody says who wrote it: the list is read again. Meanwhile it stays as it was.
  server.model.createComment(2, null, "mine", ada);
  server.model.deleteComment(2);
  await deliver();
  expect(followed()[2]).toEqual([2, false]);
  await pass(3_000);
  expect([followed()[2], lists()]).toEqual([[2, true], before + 1]);
});

test("what is unread of what one follows comes and goes with the follow", async () => {
  expect(page.shown.unread.totals).toEqual({ discussions: 0, comments: 0 });
  server.model.createComment(1, null, "one", grace);
  await deliver();
  await pass(3_000);
  expect(page.shown.unread.totals.discussions).toBe(0);
  server.model.follow(1, "follow");
  await deliver();
  await pass(10_000);
  expect(page.shown.unread.totals).toEqual({ discussions: 1, comments: 1 });
  server.model.follow(1, "mute");
  await deliver();
  await pass(10_000);
  expect(page.shown.unread.totals).toEqual({ discussions: 0, comments: 0 });
});

test("a reader who is no member follows nothing, and an older server has no follows", async () => {
  server.viewer = { user_id: 1, memberships: [] };
  const stranger = await enter();
  expect(stranger.follows[0]).toEqual([null, null, true]);
  expect(stranger.shown.list.discussions[0]?.is_followed).toBe(null);
});

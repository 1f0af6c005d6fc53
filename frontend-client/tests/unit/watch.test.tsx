// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { useComments, useDiscussions, useRealtimeStatus, useWatch } from "../../src/react/index.js";
import { FakeBrowser, settle } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
const HIDDEN = 99;

interface Shown {
  list: ReturnType<typeof useDiscussions>;
  thread: ReturnType<typeof useComments>;
  watched: readonly number[];
  status: string;
}

function Probe({ tab, watch }: { tab: { shown: Shown }; watch: number[] }) {
  tab.shown = {
    watched: useWatch(watch),
    list: useDiscussions(ARTICLE, { communityId: COMMUNITY }),
    thread: useComments(1, { communityId: COMMUNITY }),
    status: useRealtimeStatus().state,
  };
  return null;
}

class Tab extends TestPage {
  shown!: Shown;

  async open(watch: number[], options = {}): Promise<this> {
    await this.show(<Probe tab={this} watch={watch} />, 1, {}, options);
    return this;
  }

  get state(): unknown[] {
    const { list, thread, status } = this.shown;
    return [status, list.isLive, thread.isLive];
  }

  get topics(): (string | null)[] {
    return this.shown.list.discussions.map(({ topic }) => topic);
  }
}

let server: FakeServer;
let browser: FakeBrowser;
const tabs: Tab[] = [];

async function enter(watch: number[], options = {}): Promise<Tab> {
  const tab = new Tab(server, browser);
  tabs.push(tab);
  return tab.open(watch, options);
}

const run = (change: () => unknown) =>
  act(async () => {
    change();
    await settle();
  });
const pass = (ms: number) => act(() => browser.timers.advance(ms));
const deliver = () => run(() => server.deliver());
const bodies = (path: RegExp) => server.requests.filter((one) => path.test(one.path)).map(({ body }) => body);
const lists = () => server.count(/discussions$/, "GET");

beforeEach(() => {
  localStorage.clear();
  server = new FakeServer();
  browser = new FakeBrowser();
  server.viewer = { user_id: 1, memberships: [] };
  server.canWatch = [COMMUNITY];
  server.model.createDiscussion("one", "text", grace);
  server.model.createComment(1, null, "text", grace);
});

afterEach(async () => {
  for (const tab of tabs.splice(0)) await tab.close();
  expect(browser.timers.waiting.size).toBe(0);
});

test("a reader who is no member watches, and gets the list, the thread and what comes, with no refresh", async () => {
  const page = await enter([COMMUNITY, HIDDEN]);
  expect([page.state, page.shown.watched]).toEqual([["live", true, true], [COMMUNITY]]);
  expect(bodies(/register$/)).toEqual([{ watch: [COMMUNITY, HIDDEN] }]);
  server.model.createDiscussion("two", "text", grace);
  server.model.createComment(1, null, "live", grace);
  await deliver();
  expect(page.topics).toEqual(["two", "one"]);
  expect(page.shown.thread.comments.map(({ text }) => text)).toEqual(["text", "live"]);
  const before = lists();
  await pass(200_000);
  expect(lists()).toBe(before);
  expect(bodies(/watch$/)).toEqual([]);
});

test("an older server cannot watch, so the list is refreshed once a minute", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  server.canWatch = undefined;
  const page = await enter([COMMUNITY]);
  expect([page.state, page.shown.watched]).toEqual([["live", false, false], []]);
  const before = lists();
  await act(async () => {
    vi.advanceTimersByTime(61_000);
    await settle();
  });
  expect(lists()).toBe(before + 1);
  await page.show(<Probe tab={page} watch={[COMMUNITY, 3]} />);
  expect(bodies(/watch$/)).toHaveLength(1);
  await pass(61_000);
  expect([page.state, bodies(/watch$/).length]).toEqual([["live", false, false], 1]);
  vi.useRealTimers();
});

test("what is watched changes without a new queue, and what was missed before is fetched", async () => {
  server.viewer = {
    user_id: 1,
    memberships: [
      { community_id: 3, role: "member", pseudonym: null, joined_at: "2025-01-01T00:00:00Z", follow_level: "default" },
    ],
  };
  const page = await enter([]);
  expect(page.state).toEqual(["live", false, false]);
  server.model.createDiscussion("missed", "text", grace);
  await deliver();
  expect(page.topics).toEqual(["one"]);
  await page.show(<Probe tab={page} watch={[COMMUNITY]} />);
  expect([page.state, page.topics]).toEqual([
    ["live", true, true],
    ["missed", "one"],
  ]);
  server.model.createDiscussion("live", "text", grace);
  await deliver();
  expect(page.topics).toEqual(["live", "missed", "one"]);
  await page.show(<Probe tab={page} watch={[]} />);
  expect(page.state).toEqual(["live", false, false]);
  expect([bodies(/watch$/), bodies(/register$/).length]).toEqual([
    [{ community_ids: [COMMUNITY] }, { community_ids: [] }],
    1,
  ]);
});

test("what came between the last answer and the watching is fetched", async () => {
  server.viewer = {
    user_id: 1,
    memberships: [
      { community_id: 3, role: "member", pseudonym: null, joined_at: "2025-01-01T00:00:00Z", follow_level: "default" },
    ],
  };
  const page = await enter([]);
  // The poll is parked, so the page's log ends before it.
  server.model.createDiscussion("missed", "text", grace);
  await page.show(<Probe tab={page} watch={[COMMUNITY]} />);
  await deliver();
  expect([page.state, page.topics]).toEqual([
    ["live", true, true],
    ["missed", "one"],
  ]);
});

test("a change that cannot be sent is sent again", async () => {
  server.viewer = {
    user_id: 1,
    memberships: [
      { community_id: 3, role: "member", pseudonym: null, joined_at: "2025-01-01T00:00:00Z", follow_level: "default" },
    ],
  };
  const page = await enter([]);
  server.trouble = (path) => (path.endsWith("/watch") ? coded(503, "unavailable") : undefined);
  await page.show(<Probe tab={page} watch={[COMMUNITY]} />);
  expect(page.state).toEqual(["live", false, false]);
  server.trouble = undefined;
  await pass(5_000);
  expect(page.state).toEqual(["live", true, true]);
});

test("a user of no community is refused until they watch one", async () => {
  const page = await enter([HIDDEN]);
  expect(page.state).toEqual(["stale", false, false]);
  await page.show(<Probe tab={page} watch={[HIDDEN, COMMUNITY]} />);
  expect(page.state).toEqual(["live", true, true]);
});

test("the leader watches what any tab watches, also after the leader is gone", async () => {
  const first = await enter([COMMUNITY]);
  const second = await enter([COMMUNITY]);
  expect(second.state).toEqual(["live", true, true]);
  server.viewer = {
    user_id: 1,
    memberships: [
      { community_id: 3, role: "member", pseudonym: null, joined_at: "2025-01-01T00:00:00Z", follow_level: "default" },
    ],
  };
  await first.show(<Probe tab={first} watch={[]} />);
  expect(second.state).toEqual(["live", true, true]);
  await first.close();
  expect(second.state).toEqual(["live", true, true]);
  server.model.createDiscussion("two", "text", grace);
  await deliver();
  expect(second.topics).toEqual(["two", "one"]);
  // A tab that is closed is forgotten after a while.
  const third = await enter([]);
  await second.close();
  await pass(100_000);
  expect(third.state).toEqual(["live", false, false]);
});

test("when the community turns private, all that was shown is gone, and it is back when it opens again", async () => {
  const page = await enter([COMMUNITY]);
  const closed = (path: string) => (/discussions|comments/.test(path) ? coded(403, "not_a_member") : undefined);
  server.trouble = closed;
  server.model.changeKind("private", "public");
  await deliver();
  const { list, thread, watched } = page.shown;
  expect([list.discussions, thread.comments, watched]).toEqual([[], [], []]);
  expect([list.access, list.isLive]).toMatchObject([{ state: "closed", communityId: COMMUNITY }, false]);
  server.trouble = undefined;
  server.model.changeKind("open", "private");
  await deliver();
  expect([page.topics, page.state, page.shown.list.access]).toEqual([
    ["one"],
    ["live", true, true],
    { state: "granted" },
  ]);
});

test("a member sees nothing of a change of kind", async () => {
  server.viewer = {
    user_id: 1,
    memberships: [
      {
        community_id: COMMUNITY,
        role: "member",
        pseudonym: null,
        joined_at: "2025-01-01T00:00:00Z",
        follow_level: "default",
      },
    ],
  };
  const page = await enter([]);
  const before = lists();
  server.model.changeKind("hidden", "public");
  await deliver();
  expect([page.topics, page.shown.list.access, lists()]).toEqual([["one"], { state: "granted" }, before]);
});

test("with `only`, lists that do not get all their events are refreshed, and the others are live", async () => {
  server.viewer = {
    user_id: 1,
    memberships: [
      {
        community_id: COMMUNITY,
        role: "member",
        pseudonym: null,
        joined_at: "2025-01-01T00:00:00Z",
        follow_level: "default",
      },
    ],
  };
  const environment = browser.tab().environment();
  const some = await enter([], { options: { environment, only: { article_ids: [ARTICLE] } } });
  expect([some.state, bodies(/register$/)]).toEqual([["live", true, true], [{ only: { article_ids: [ARTICLE] } }]]);
  const other = await enter([], { options: { environment: browser.tab().environment(), only: { followed: true } } });
  // It does not share the poll of the other tab.
  expect([other.state, bodies(/register$/).length]).toEqual([["live", false, false], 2]);
  expect(browser.channelNames.some((name) => name.endsWith('{"followed":true}'))).toBe(true);
});

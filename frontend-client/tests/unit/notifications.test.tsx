// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { useNotifications } from "../../src/react/index.js";
import { FakeBrowser, settle } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { coded } from "../support/model.js";
import { TestPage } from "../support/react.js";

const ada = { id: 1, username: "ada", avatar_url: null };
const grace = { id: 2, username: "grace", avatar_url: null };

interface Shown {
  all: ReturnType<typeof useNotifications>;
  unread: ReturnType<typeof useNotifications>;
}

function Probe({ tab, pageSize }: { tab: { shown: Shown }; pageSize: number }) {
  tab.shown = { all: useNotifications({ pageSize }), unread: useNotifications({ unread: true }) };
  return null;
}

class Tab extends TestPage {
  shown!: Shown;

  async open(user: number | null = 1, pageSize = 20): Promise<this> {
    await this.show(<Probe tab={this} pageSize={pageSize} />, user);
    return this;
  }

  /** The ids of all and of the unread ones, as the first hook says it, then those of the second, and both counts. */
  get state(): unknown[] {
    const { all, unread } = this.shown;
    return [
      all.notifications.map(({ id }) => id),
      all.notifications.filter(({ is_read }) => !is_read).map(({ id }) => id),
      unread.notifications.map(({ id }) => id),
      [all.unreadCount, unread.unreadCount],
    ];
  }
}

const state = (all: number[], unread: number[]) => [all, unread, unread, [unread.length, unread.length]];

let server: FakeServer;
let browser: FakeBrowser;
let page: Tab;
const tabs: TestPage[] = [];

async function enter(user: number | null = 1, pageSize?: number): Promise<Tab> {
  const tab = new Tab(server, browser);
  tabs.push(tab);
  return tab.open(user, pageSize);
}

const run = (change: () => unknown) =>
  act(async () => {
    change();
    await settle();
  });
const pass = (ms: number) => act(() => browser.timers.advance(ms));
const deliver = () => run(() => server.deliver());
const sent = () => server.requests.filter(({ path }) => path === "/notifications/read").map(({ body }) => body);
const fetches = () => server.count(/^\/notifications$/);

beforeEach(async () => {
  localStorage.clear();
  server = new FakeServer();
  browser = new FakeBrowser();
  const { model } = server;
  model.createDiscussion("topic", "text", ada);
  for (const text of ["one", "two", "three"]) model.createComment(1, null, text, grace);
  page = await enter();
});

afterEach(async () => {
  for (const tab of tabs.splice(0)) await tab.close();
  expect(browser.timers.waiting.size).toBe(0);
});

test("notifications come, say what they are about, and are read at once in every hook and tab", async () => {
  const other = await enter();
  expect(page.state).toEqual(state([3, 2, 1], [3, 2, 1]));
  server.model.createComment(1, 1, "@u1, see table 2", grace);
  await deliver();
  expect(page.shown.all.notifications[0]).toMatchObject({
    kind: "mention",
    topic: "topic",
    excerpt: "@u1, see table 2",
    actor: grace,
    comment_id: 4,
  });
  let answer = () => {};
  server.writesAfter = new Promise((resolve) => (answer = resolve));
  await run(() => void page.shown.all.markRead([3, 1]));
  expect(page.state).toEqual(state([4, 3, 2, 1], [4, 2]));
  await deliver();
  for (const tab of [page, other]) expect(tab.state).toEqual(state([4, 3, 2, 1], [4, 2]));
  await run(() => answer());
  server.writesAfter = Promise.resolve();
  await run(() => void other.shown.all.markAllRead());
  expect(other.state).toEqual(state([4, 3, 2, 1], []));
  await deliver();
  expect(page.state).toEqual(state([4, 3, 2, 1], []));
  expect([sent(), fetches()]).toEqual([[{ ids: [3, 1] }, { up_to_id: 4 }], 4]);
});

test("a double click is sent once, and what is read already is no more to do", async () => {
  await run(() => {
    void page.shown.all.markRead(2);
    void page.shown.all.markRead(2);
    void page.shown.all.markRead([2, 3]);
    void page.shown.all.markAllRead();
    void page.shown.all.markAllRead();
  });
  await deliver();
  expect(sent()).toEqual([{ ids: [2] }, { ids: [3] }, { up_to_id: 3 }]);
  expect(page.state).toEqual(state([3, 2, 1], []));
});

test("what the server refuses is taken back, and what cannot be sent waits", async () => {
  server.trouble = (path) => (path === "/notifications/read" ? coded(422, "invalid_fields") : undefined);
  let error: unknown;
  await run(() => void page.shown.all.markRead(2).catch((reason: unknown) => (error = reason)));
  expect(error).toMatchObject({ code: "invalid_fields" });
  expect(page.state).toEqual(state([3, 2, 1], [3, 2, 1]));
  server.trouble = (path) => (path === "/notifications/read" ? "down" : undefined);
  await run(() => void page.shown.all.markRead({ upTo: 2 }));
  expect(page.state).toEqual(state([3, 2, 1], [3]));
  server.trouble = undefined;
  await pass(1_000);
  await deliver();
  expect(page.state).toEqual(state([3, 2, 1], [3]));
  expect(server.model.notifications.map(({ is_read }) => is_read)).toEqual([true, true, false]);
});

test("what came later stays unread, although its number is below the mark", async () => {
  let answer = () => {};
  server.writesAfter = new Promise((resolve) => (answer = resolve));
  await run(() => void page.shown.all.markAllRead());
  server.model.createComment(1, null, "four", grace);
  await deliver();
  await run(() => answer());
  expect(page.state).toEqual(state([4, 3, 2, 1], [4]));
});

test("with the thing the notification goes, and what is edited shows as it is", async () => {
  server.model.updateComment(2, "edited");
  server.model.updateDiscussion(1, { topic: "renamed" });
  server.model.changeAuthor({ ...grace, username: "hopper" });
  server.model.deleteComment(3);
  await deliver();
  expect(page.state).toEqual(state([2, 1], [2, 1]));
  expect(page.shown.all.notifications[0]).toMatchObject({
    excerpt: "edited",
    topic: "renamed",
    actor: { username: "hopper" },
  });
  server.model.deleteDiscussion(1);
  await deliver();
  expect(page.shown.all.notifications.map(({ topic }) => topic)).toEqual([null, null]);
  // Of a discussion its own notification goes, and that of its comment stays.
  server.model.createDiscussion("two", "@u1", grace);
  server.model.createComment(2, null, "@u1, too", grace);
  await deliver();
  expect(page.shown.all.notifications.map(({ topic, comment_id }) => [topic, comment_id])[1]).toEqual(["two", null]);
  server.model.deleteDiscussion(2);
  await deliver();
  expect(page.shown.all.notifications.map(({ topic }) => topic)).toEqual([null, null, null]);
  expect([page.shown.all.notifications[0]?.excerpt, page.shown.all.unreadCount]).toEqual(["@u1, too", 3]);
});

test("an event without its text counts at once, and the list is read again once for several", async () => {
  server.model.isTerse = true;
  const before = fetches();
  server.model.createComment(1, null, "four", grace);
  server.model.createComment(1, null, "five", grace);
  await deliver();
  // It shows when it has something to show.
  expect(page.state).toEqual([
    [3, 2, 1],
    [3, 2, 1],
    [3, 2, 1],
    [5, 5],
  ]);
  await pass(1_500);
  expect(page.state).toEqual(state([5, 4, 3, 2, 1], [5, 4, 3, 2, 1]));
  expect(page.shown.all.notifications[0]).toMatchObject({ excerpt: "five", actor: grace });
  expect(fetches()).toBe(before + 2);
  await run(() => void page.shown.all.markAllRead());
  await deliver();
  expect(page.state).toEqual(state([5, 4, 3, 2, 1], []));
  await pass(60_000);
  expect(fetches()).toBe(before + 2);
});

test("older notifications are fetched page by page, and all are marked as read though they are not loaded", async () => {
  for (let count = 0; count < 6; count += 1) server.model.createComment(1, null, "more", grace);
  const small = await enter(1, 2);
  expect([small.state[0], small.shown.all.unreadCount, small.shown.all.hasMore]).toEqual([[9, 8], 9, true]);
  await run(() => void small.shown.all.fetchMore());
  expect(small.state[0]).toEqual([9, 8, 7, 6]);
  await run(() => void small.shown.all.markRead(7));
  expect(small.shown.all.unreadCount).toBe(8);
  await run(() => void small.shown.all.markAllRead());
  expect(small.shown.all.unreadCount).toBe(0);
  await deliver();
  await run(() => void small.shown.all.fetchMore());
  expect([small.state[1], small.shown.all.unreadCount]).toEqual([[], 0]);
});

test("a reader who is not signed in has none, and asks for none", async () => {
  const before = fetches();
  const guest = await enter(null);
  expect([guest.state, guest.shown.all.isEmpty, fetches()]).toEqual([state([], []), false, before]);
});

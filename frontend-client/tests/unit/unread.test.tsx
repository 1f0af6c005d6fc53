// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { CommentItem } from "../../src/react/index.js";
import { useComments, useDiscussion, useDiscussions, useReadTracking, useUnread } from "../../src/react/index.js";
import { FakeBrowser, settle } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import { TestPage } from "../support/react.js";

const ada = { id: 1, username: "ada", avatar_url: null };
const grace = { id: 2, username: "grace", avatar_url: null };
const heron = { id: null, username: "Gray Heron", avatar_url: null };

/** The elements that a page observes. A test says which of them are in view. */
class FakeObserver {
  static all: FakeObserver[] = [];
  readonly observed = new Set<Element>();

  constructor(private readonly callback: (entries: Partial<IntersectionObserverEntry>[]) => void) {
    FakeObserver.all.push(this);
  }

  observe = (element: Element) => void this.observed.add(element);
  unobserve = (element: Element) => void this.observed.delete(element);
  disconnect = () => this.observed.clear();

  show(element: Element, ratio: number, height = 100): void {
    const rect = { height: ratio * height } as DOMRectReadOnly;
    const rootBounds = { height: 800 } as DOMRectReadOnly;
    this.callback([
      { target: element, isIntersecting: ratio > 0, intersectionRatio: ratio, intersectionRect: rect, rootBounds },
    ]);
  }
}

interface Shown {
  thread: ReturnType<typeof useComments>;
  list: ReturnType<typeof useDiscussions>;
  one: ReturnType<typeof useDiscussion>;
  unread: ReturnType<typeof useUnread>;
}

function Probe({ tab }: { tab: { shown: Shown } }) {
  const thread = useComments(1);
  const observe = useReadTracking(1);
  tab.shown = { thread, list: useDiscussions(ARTICLE), one: useDiscussion(1), unread: useUnread() };
  const items = thread.comments.flatMap((root) => [root, ...root.replies]);
  return (
    <>
      <div id="text" ref={observe()} />
      {items.map((item) => (
        // Some applications make another function at each render.
        <p
          key={item.key}
          id={String(item.id)}
          ref={item.id === 2 ? (element) => observe(2)(element) : observe(item.id)}
        />
      ))}
    </>
  );
}

/** A tab with everything that shows what is unread. */
class Tab extends TestPage {
  shown!: Shown;

  async open(): Promise<this> {
    await this.show(<Probe tab={this} />);
    return this;
  }

  /** The ids of the comments that show as unread. */
  get unreadIds(): number[] {
    const ids = (items: readonly CommentItem[]): number[] =>
      items.flatMap((item) => [...(item.is_unread ? [item.id] : []), ...ids(item.replies)]);
    return ids(this.shown.thread.comments);
  }

  /** Whether the discussion is unread, and how many comments are: in the list, by itself, and in all sums. */
  get counts(): unknown[] {
    const { list, one, unread } = this.shown;
    return [
      [list.discussions.at(-1)?.is_unread, list.discussions.at(-1)?.unread_count],
      [one.discussion?.is_unread, one.discussion?.unread_count],
      [unread.totals.discussions, unread.totals.comments],
    ];
  }
}

const counts = (isUnread: boolean, comments: number) => [
  [isUnread, comments],
  [isUnread, comments],
  [Number(isUnread || comments > 0), comments],
];

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
const sent = () => server.requests.filter(({ path }) => /\/(un)?read$/.test(path) && !path.startsWith("/unread"));
const bodies = () => sent().map(({ body }) => body);
/** The element with this id comes into view, in all tabs. */
const view = (id: string, ratio = 1, height?: number) =>
  run(() => {
    for (const one of FakeObserver.all)
      for (const element of one.observed) if (element.id === id) one.show(element, ratio, height);
  });

beforeEach(async () => {
  localStorage.clear();
  FakeObserver.all = [];
  globalThis.IntersectionObserver = FakeObserver as never;
  server = new FakeServer();
  browser = new FakeBrowser();
  const { model } = server;
  model.createDiscussion("topic", "text", grace);
  model.createComment(1, null, "one", grace);
  model.createComment(1, 1, "two", grace);
  model.createComment(1, null, "mine", ada);
  model.createComment(1, null, "four", grace);
  page = await enter();
});

afterEach(async () => {
  for (const tab of tabs.splice(0)) await tab.close();
  expect(browser.timers.waiting.size).toBe(0);
});

test("marks show at once in every hook, and stay when the answer and the event come, in any order", async () => {
  expect([page.unreadIds, page.counts]).toEqual([[1, 2, 4], counts(true, 3)]);
  let answer = () => {};
  server.writesAfter = new Promise((resolve) => (answer = resolve));
  await run(() => void page.shown.thread.markRead(2));
  const expected = [[4], counts(true, 1)];
  expect([page.unreadIds, page.counts]).toEqual(expected);
  await deliver();
  expect([page.unreadIds, page.counts]).toEqual(expected);
  await run(() => answer());
  expect([page.unreadIds, page.counts]).toEqual(expected);
  server.writesAfter = Promise.resolve();
  await run(() => void page.shown.thread.markRead());
  expect([page.unreadIds, page.counts]).toEqual([[], counts(false, 0)]);
  await deliver();
  expect([page.unreadIds, page.counts]).toEqual([[], counts(false, 0)]);
  expect(page.shown.unread.discussions).toEqual([]);

  await run(() => void page.shown.thread.markUnread(2));
  expect([page.unreadIds, page.counts[0]]).toEqual([
    [2, 4],
    [false, 2],
  ]);
  expect(page.shown.list.discussions[0]?.first_unread_comment_id).toBe(2);
  await deliver();
  expect([page.unreadIds, page.counts]).toEqual([[2, 4], counts(false, 2)]);
  await run(() => void page.shown.one.markUnread());
  expect([page.unreadIds, page.counts]).toEqual([[1, 2, 4], counts(true, 3)]);
  await deliver();
  expect([page.unreadIds, page.counts]).toEqual([[1, 2, 4], counts(true, 3)]);
  expect(bodies()).toEqual([
    { up_to_comment_id: 2 },
    { discussion: true, comment_ids: [4] },
    { from_comment_id: 2 },
    {},
  ]);
});

test("what one tab marks the other tabs show, and marks of two tabs add up", async () => {
  const other = await enter();
  await run(() => {
    void page.shown.thread.markRead(1);
    void other.shown.one.markRead();
  });
  await deliver();
  for (const tab of [page, other]) expect([tab.unreadIds, tab.counts]).toEqual([[2, 4], counts(false, 2)]);
  await run(() => void other.shown.thread.markUnread());
  await deliver();
  for (const tab of [page, other]) expect([tab.unreadIds, tab.counts]).toEqual([[1, 2, 4], counts(true, 3)]);
});

test("a comment arrives unread, one's own does not, and a mark's event hides nothing that came later", async () => {
  await run(() => void page.shown.thread.markRead());
  server.model.createComment(1, null, "five", grace);
  server.model.createComment(1, null, "mine again", ada);
  await deliver();
  expect([page.unreadIds, page.counts]).toEqual([[5], counts(false, 1)]);
});

test("while the server cannot be reached marks wait, and a repetition is harmless", async () => {
  server.trouble = (path) => (/read$/.test(path) ? "down" : undefined);
  await run(() => void page.shown.thread.markRead(1));
  await pass(600);
  expect([page.unreadIds, sent().length > 1]).toEqual([[2, 4], true]);
  // Of the next attempt the answer is lost.
  server.trouble = undefined;
  let lose = () => {};
  server.writesAfter = new Promise((_, reject) => (lose = () => reject(new TypeError("fetch failed"))));
  await pass(1_000);
  await run(() => lose());
  server.writesAfter = Promise.resolve();
  await pass(2_000);
  await deliver();
  expect([page.unreadIds, page.counts]).toEqual([[2, 4], counts(true, 2)]);
  expect(server.model.events.filter(({ type }) => type === "read_state_changed")).toHaveLength(1);
  const before = sent().length;
  await pass(60_000);
  expect(sent()).toHaveLength(before);
});

test("after a limit marks wait for as long as the server said, and what it refuses is taken back", async () => {
  server.trouble = (path) => (/read$/.test(path) ? coded(429, "rate_limited", { "retry-after": "5" }) : undefined);
  await run(() => void page.shown.thread.markRead(1));
  await pass(4_900);
  expect(sent()).toHaveLength(1);
  server.trouble = undefined;
  await pass(1_000);
  expect(sent()).toHaveLength(2);
  await deliver();
  expect(page.unreadIds).toEqual([2, 4]);

  server.trouble = (path) => (/read$/.test(path) ? coded(403, "not_a_member") : undefined);
  let error: unknown;
  await run(() => void page.shown.thread.markRead().catch((reason: unknown) => (error = reason)));
  expect(error).toMatchObject({ code: "not_a_member" });
  expect([page.unreadIds, page.counts]).toEqual([[2, 4], counts(true, 2)]);
});

test("what was read and not sent is sent after a reload", async () => {
  server.trouble = (path) => (/read$/.test(path) ? "down" : undefined);
  await run(() => void page.shown.thread.markRead(1));
  await page.close();
  server.trouble = undefined;
  page = await enter();
  await deliver();
  expect([page.unreadIds, page.counts]).toEqual([[2, 4], counts(true, 2)]);
  expect(localStorage.length).toBe(0);
});

test("of very many marks each request has as many as the server takes, and what is stored wrongly is left out", async () => {
  await page.close();
  const ids = Array.from({ length: 1_200 }, (_, at) => at + 1);
  const kept = [[1, { ids }], [2], ["three", { ids }]];
  localStorage.setItem("scicommons-discussions:read-marks:1", JSON.stringify(kept));
  page = await enter();
  expect(page.unreadIds).toEqual([]);
  await pass(1_000);
  await deliver();
  expect(bodies()).toEqual([{ comment_ids: ids.slice(0, 1_000) }, { comment_ids: ids.slice(1_000) }]);
  expect([page.unreadIds, page.counts]).toEqual([[], counts(true, 0)]);
  await pass(20_000);
  expect(localStorage.length).toBe(0);
});

test("what is in view for a second is read, in one request a second", async () => {
  await view("1");
  await view("3");
  await view("text");
  await pass(900);
  await view("2");
  await view("4", 0.3);
  expect(page.unreadIds).toEqual([1, 2, 4]);
  await pass(100);
  expect([page.unreadIds, page.counts]).toEqual([[2, 4], counts(false, 2)]);
  await pass(900);
  expect([page.unreadIds, bodies()]).toEqual([[4], []]);
  await pass(100);
  expect(bodies()).toEqual([{ discussion: true, comment_ids: [1, 2] }]);
  await deliver();
  expect([page.unreadIds, page.counts]).toEqual([[4], counts(false, 1)]);
  // A part of something tall fills the window.
  await view("4", 0.2, 4_000);
  await pass(2_000);
  expect(bodies().slice(1)).toEqual([{ comment_ids: [4] }]);
  await pass(60_000);
  expect(sent()).toHaveLength(2);
});

test("nothing is read while the page is hidden or without the focus, while it sleeps, or when it only passes by", async () => {
  const tab = browser.tabs[0];
  if (!tab) throw new Error("no tab");
  await view("1");
  await pass(500);
  tab.focused = false;
  await run(() => tab.signal("focus"));
  await pass(5_000);
  tab.visible = false;
  tab.focused = true;
  await run(() => tab.signal("visibility"));
  await pass(5_000);
  expect(page.unreadIds).toEqual([1, 2, 4]);
  tab.visible = true;
  await run(() => tab.signal("visibility"));
  await pass(500);
  browser.timers.sleep(60_000);
  await pass(0);
  expect(page.unreadIds).toEqual([1, 2, 4]);
  await view("2");
  await view("2", 0);
  await pass(1_000);
  expect(page.unreadIds).toEqual([2, 4]);
  // Leaving the page sends it at once.
  await run(() => tab.signal("suspend"));
  expect(sent()).toMatchObject([{ keepalive: true, body: { comment_ids: [1] } }]);
});

test("what was marked as unread stays so while it is in view, in every tab", async () => {
  const other = await enter();
  await run(() => void page.shown.thread.markRead());
  await deliver();
  await view("1");
  await view("4");
  await run(() => void page.shown.thread.markUnread(2));
  await deliver();
  await pass(5_000);
  for (const tab of [page, other]) expect(tab.unreadIds).toEqual([2, 4]);
});

test("a count that events leave unknown is fetched again once, and shows as it was meanwhile", async () => {
  const lists = () => server.count(/discussions$/, "GET");
  const before = lists();
  server.model.deleteComment(4);
  server.model.deleteComment(1);
  await deliver();
  expect([page.unreadIds, page.counts[0]]).toEqual([[2], [true, 3]]);
  expect(lists()).toBe(before);
  await pass(10_000);
  expect(page.counts).toEqual(counts(true, 1));
  expect(lists()).toBe(before + 1);
  await pass(120_000);
  expect(lists()).toBe(before + 1);
});

test("a pseudonym that may be the user's own leaves the count unknown, and the own first post is never unread", async () => {
  server.model.createComment(1, null, "masked", heron);
  await deliver();
  expect(page.counts[0]).toEqual([true, 3]);
  await pass(10_000);
  expect([page.unreadIds, page.counts]).toEqual([[1, 2, 4, 5], counts(true, 4)]);
  server.me = { ...heron, username: "Red Fox" };
  let answer = () => {};
  server.writesAfter = new Promise((resolve) => (answer = resolve));
  await run(() => void page.shown.thread.create({ text: "mine" }));
  await deliver();
  expect(page.unreadIds).toEqual([1, 2, 4, 5]);
  server.viewer = {
    ...server.viewer,
    memberships: server.viewer.memberships.map((one) => ({ ...one, pseudonym: "Red Fox" })),
  };
  await run(() => answer());
  await pass(10_000);
  expect([page.unreadIds, page.counts]).toEqual([[1, 2, 4, 5], counts(true, 4)]);
});

test("useUnread follows the events, and fetches what they do not say at most once in some seconds", async () => {
  const fetches = () => server.count(/^\/unread$/);
  expect(fetches()).toBe(1);
  server.model.createDiscussion("two", "text", grace);
  server.model.createComment(2, null, "text", grace);
  await deliver();
  expect(page.shown.unread.totals).toEqual({ discussions: 2, comments: 4 });
  expect(page.shown.unread.discussions.map(({ id }) => id)).toEqual([2, 1]);
  await run(() => void page.shown.unread.markArticleRead(ARTICLE, COMMUNITY));
  expect([page.unreadIds, page.counts]).toEqual([[], counts(false, 0)]);
  await deliver();
  expect([page.shown.unread.byArticle, page.shown.unread.byCommunity]).toEqual([[], []]);
  await pass(60_000);
  expect([page.unreadIds, page.counts, fetches()]).toEqual([[], counts(false, 0), 1]);

  // Without the lists, most events leave the sums unknown.
  await page.close();
  let unread!: ReturnType<typeof useUnread>;
  function Sums() {
    unread = useUnread({ articleId: ARTICLE });
    return null;
  }
  const bare = new TestPage(server, browser);
  tabs.push(bare);
  await bare.show(<Sums />);
  const before = fetches();
  for (let count = 0; count < 5; count += 1) {
    server.model.createComment(2, null, "text", grace);
    await deliver();
  }
  await pass(10_000);
  expect(unread.byArticle).toEqual([{ article_id: ARTICLE, community_id: COMMUNITY, discussions: 1, comments: 5 }]);
  expect(fetches()).toBe(before + 1);
  // The next one is some seconds later, and then twice as many.
  server.model.createComment(2, null, "text", grace);
  await deliver();
  await pass(1_000);
  expect(fetches()).toBe(before + 2);
  server.model.createComment(2, null, "text", grace);
  await deliver();
  await pass(6_000);
  expect(fetches()).toBe(before + 2);
  await pass(4_500);
  expect([unread.totals.comments, fetches()]).toEqual([7, before + 3]);
  server.model.markRead(2, { up_to_comment_id: 7 });
  server.model.createComment(1, null, "mine", ada);
  await deliver();
  expect([unread.totals, fetches()]).toEqual([{ discussions: 1, comments: 5 }, before + 3]);
});

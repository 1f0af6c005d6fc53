// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ViewerInfo } from "../../src/index.js";
import { places, useDiscussions, useDraft, useSummary } from "../../src/react/index.js";
import { etagOf } from "../../src/core/version.js";
import { FakeBrowser, settle } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };

interface Shown {
  one: ReturnType<typeof useSummary>;
  draft: ReturnType<typeof useDraft>;
}

function Probe({ tab }: { tab: { shown: Shown } }) {
  useDiscussions(ARTICLE);
  tab.shown = {
    one: useSummary(ARTICLE, COMMUNITY),
    draft: useDraft(places.summary(ARTICLE, COMMUNITY)),
  };
  return null;
}

class Tab extends TestPage {
  shown!: Shown;

  async open(user: number | null = 1): Promise<this> {
    // The fake server takes a call without a token for one of user 1.
    const headers = { authorization: "Bearer anonymous" };
    const call: typeof fetch = (input, init) => this.server.fetch(input, { ...init, headers });
    await this.show(<Probe tab={this} />, user, user === null ? { fetch: call } : {});
    return this;
  }

  /** The text, its author's id, and whether it is being saved. */
  get summary(): unknown {
    const { summary } = this.shown.one;
    return summary && [summary.text, summary.author?.id, summary.pending];
  }
}

let server: FakeServer;
let browser: FakeBrowser;
let page: Tab;
const tabs: TestPage[] = [];

async function enter(user: number | null = 1): Promise<Tab> {
  const tab = new Tab(server, browser);
  tabs.push(tab);
  return tab.open(user);
}

const admin = (viewer: ViewerInfo): ViewerInfo => ({
  ...viewer,
  memberships: viewer.memberships.map((one) => ({ ...one, role: "admin" as const })),
});
const run = (change: () => unknown) =>
  act(async () => {
    change();
    await settle();
  });
const pass = (ms: number) => act(() => browser.timers.advance(ms));
const deliver = () => run(() => server.deliver());
const reads = () => server.count(/summary$/, "GET");
/** Calls a function that writes, and returns what comes of it. */
async function write(call: () => Promise<unknown>): Promise<{ done?: unknown; code?: unknown }> {
  let outcome = {};
  await run(() => {
    call().then(
      (done) => (outcome = { done }),
      (error: unknown) => (outcome = { code: (error as { code?: unknown }).code }),
    );
  });
  return outcome;
}

beforeEach(async () => {
  localStorage.clear();
  server = new FakeServer();
  server.viewer = admin(server.viewer);
  browser = new FakeBrowser();
  server.model.createDiscussion("topic", "text", grace);
  page = await enter();
});

afterEach(async () => {
  for (const tab of tabs.splice(0)) await tab.close();
  expect(browser.timers.waiting.size).toBe(0);
});

test.each(["answer", "event"] as const)(
  "a text shows at once, in every tab with its event, and without flicker, the %s being first",
  async (first) => {
    const other = await enter();
    expect([page.summary, other.summary, page.shown.one.canEdit]).toEqual([null, null, true]);
    for (const text of ["In short", "In fewer words"]) {
      let answer = () => {};
      server.writesAfter = new Promise((resolve) => (answer = resolve));
      await run(() => page.shown.one.save(text));
      expect(page.summary).toEqual([text, 1, true]);
      if (first === "answer") await run(() => answer());
      else await deliver();
      expect(page.summary).toEqual([text, 1, first === "event"]);
      await run(() => answer());
      expect(page.summary).toEqual([text, 1, false]);
      await deliver();
      expect([page.summary, other.summary]).toEqual([
        [text, 1, false],
        [text, 1, false],
      ]);
      expect(page.shown.one.summary?.mine).toBe(true);
    }
    expect(other.shown.one.summary?.revision).toBe(2);
    expect(reads()).toBe(2);
    await run(() => page.shown.one.remove());
    expect(page.summary).toBe(null);
    await deliver();
    expect([page.summary, other.summary, reads()]).toEqual([null, null, 2]);
    await run(() => other.shown.one.save("Again"));
    await deliver();
    expect([page.summary, other.summary]).toEqual([
      ["Again", 1, false],
      ["Again", 1, false],
    ]);
  },
);

test("what others write and delete arrives; the same text again changes nothing", async () => {
  await run(() => server.model.writeSummary("By grace", grace));
  await deliver();
  expect(page.summary).toEqual(["By grace", 2, false]);
  expect(page.shown.one.summary?.mine).toBe(false);
  expect(await write(() => page.shown.one.save("By grace"))).toMatchObject({ done: { revision: 1 } });
  expect(page.summary).toEqual(["By grace", 2, false]);
  await run(() => server.model.changeAuthor({ ...grace, username: "hopper" }));
  await deliver();
  expect(page.shown.one.author?.username).toBe("hopper");
  await run(() => server.model.deleteSummary());
  await deliver();
  expect(page.summary).toBe(null);
  expect(reads()).toBe(1);
});

test("a text does not replace one that its writer has not seen, and stays in the draft", async () => {
  server.model.writeSummary("First", grace);
  await deliver();
  const from = server.model.summary ?? undefined;
  server.model.writeSummary("By grace", grace);
  // The event is under way.
  expect(await write(() => page.shown.one.save("Mine"))).toEqual({ code: "changed_meanwhile" });
  expect(page.shown.draft.text).toBe("Mine");
  expect(page.summary).toEqual(["First", 2, false]);
  await deliver();
  expect(page.summary).toEqual(["By grace", 2, false]);
  // A draft that was begun before says so itself.
  expect(await write(() => page.shown.one.save("Mine", { from }))).toEqual({ code: "changed_meanwhile" });
  expect(await write(() => page.shown.one.save("Mine"))).toMatchObject({ done: { text: "Mine" } });
  await deliver();
  expect(page.summary).toEqual(["Mine", 1, false]);
});

test("of two first texts the second is refused; a summary that was deleted does not come back unnoticed", async () => {
  server.model.writeSummary("By grace", grace);
  expect(await write(() => page.shown.one.save("Mine"))).toEqual({ code: "changed_meanwhile" });
  expect(server.requests.at(-1)?.headers.get("if-none-match")).toBe("*");
  expect(page.shown.draft.text).toBe("Mine");
  await deliver();
  expect(page.summary).toEqual(["By grace", 2, false]);
  server.model.deleteSummary();
  expect(await write(() => page.shown.one.save("Mine, too"))).toEqual({ code: "summary_not_found" });
  expect(page.shown.draft.text).toBe("Mine");
  await deliver();
  expect(page.summary).toBe(null);
  expect(await write(() => page.shown.one.save("Mine"))).toMatchObject({ done: { revision: 3 } });
});

test("a lost answer is no conflict; without the network it waits, and is sent by itself", async () => {
  let isLost = true;
  const call = server.fetch;
  await page.close();
  tabs.length = 0;
  page = new Tab(server, browser);
  tabs.push(page);
  const losing: typeof fetch = async (input, init) => {
    const answer = await call(input, init);
    if (init?.method === "PUT" && isLost) throw new TypeError("fetch failed");
    return answer;
  };
  await page.show(<Probe tab={page} />, 1, { fetch: losing });
  for (const text of ["First", "Second"]) {
    isLost = true;
    await run(() => page.shown.one.save(text));
    expect(page.summary).toEqual([text, 1, true]);
    isLost = false;
    await pass(2_000);
    expect(page.summary).toEqual([text, 1, false]);
    await deliver();
    expect(page.summary).toEqual([text, 1, false]);
  }
  expect(server.model.summary?.revision).toBe(2);
});

test("a deletion can be undone until it is sent", async () => {
  server.model.writeSummary("First", grace);
  await deliver();
  await run(() => page.shown.one.remove({ undoMs: 5_000 }).catch(() => undefined));
  expect(page.summary).toBe(null);
  await run(() => page.shown.one.discard(page.shown.one.undo ?? ""));
  expect([page.summary, page.shown.one.undo]).toEqual([["First", 2, false], undefined]);
  await run(() => page.shown.one.remove({ undoMs: 5_000 }));
  await pass(5_000);
  expect([page.summary, server.model.summary]).toEqual([null, null]);
  // Somebody else writes one before the event of the deletion is here.
  server.model.writeSummary("Second", grace);
  expect(page.summary).toBe(null);
  await deliver();
  expect(page.summary).toEqual(["Second", 2, false]);
});

test("a deletion erases nothing that somebody else wrote until it is sent", async () => {
  server.model.writeSummary("First", grace);
  await deliver();
  let code: unknown;
  const remove = () =>
    page.shown.one.remove({ undoMs: 5_000 }).catch((error: unknown) => (code = (error as { code?: unknown }).code));
  await run(remove);
  const second = server.model.writeSummary("Second", grace);
  // The event is under way.
  await pass(5_000);
  expect([code, page.summary, server.model.summary]).toEqual(["changed_meanwhile", ["Second", 2, false], second]);
  await deliver();
  expect(page.summary).toEqual(["Second", 2, false]);
  // One's own text that is still being saved is what one deletes.
  let answer = () => {};
  server.writesAfter = new Promise((resolve) => (answer = resolve));
  await run(() => page.shown.one.save("Mine"));
  await run(remove);
  await run(() => answer());
  await pass(5_000);
  await deliver();
  expect([page.summary, server.model.summary]).toEqual([null, null]);
});

test("a version's entity tag has its microseconds", () => {
  for (const [time, tag] of [
    ["2025-08-09T12:34:56.123456Z", '"1754742896123456"'],
    ["2025-08-09T12:34:56.000001Z", '"1754742896000001"'],
    ["2025-08-09T12:34:56.12Z", '"1754742896120000"'],
    ["2025-08-09T12:34:56Z", '"1754742896000000"'],
    ["2025-08-09T14:34:56.123456+02:00", '"1754742896123456"'],
  ] as const)
    expect(etagOf(time)).toBe(tag);
});

test("only admins may write it; what the server refuses is taken back", async () => {
  server.model.writeSummary("First", grace);
  await deliver();
  const outdated = server.viewer;
  server.viewer = { ...outdated, memberships: outdated.memberships.map((one) => ({ ...one, role: "moderator" })) };
  expect(await write(() => page.shown.one.save("Mine"))).toEqual({ code: "not_allowed" });
  expect([page.summary, page.shown.draft.text]).toEqual([["First", 2, false], "Mine"]);
  expect(page.shown.one.canEdit).toBe(true);
  // The change of the role arrives.
  server.model.membership(1, "member");
  await deliver();
  expect([page.summary, page.shown.one.canEdit]).toEqual([["First", 2, false], false]);
});

test("after a gap it is read again; who may not read it sees nothing; a reader who is not signed in sees it", async () => {
  server.model.writeSummary("First", grace);
  server.model.writeSummary("Second", grace);
  server.forgotten = server.model.head;
  await deliver();
  expect([page.summary, reads()]).toEqual([["Second", 2, false], 2]);
  server.model.membership(1, null);
  server.trouble = (path) => (/summary$|discussions$/.test(path) ? coded(403, "not_a_member") : undefined);
  await deliver();
  expect([page.summary, page.shown.one.access.state, page.shown.one.canEdit]).toEqual([undefined, "removed", false]);
  server.trouble = undefined;
  const reader = await enter(null);
  expect([reader.summary, reader.shown.one.canEdit, reader.shown.one.isLive]).toEqual([
    ["Second", 2, false],
    false,
    false,
  ]);
});

test("an older server has no summaries", async () => {
  server.trouble = (path) => (/summary$/.test(path) ? coded(404, "not_found") : undefined);
  const tab = await enter();
  expect([tab.summary, tab.shown.one.error, tab.shown.one.access.state]).toEqual([null, null, "granted"]);
});

test("on a pseudonymous article a summary is of nobody", async () => {
  server.viewer = {
    ...server.viewer,
    memberships: server.viewer.memberships.map((one) => ({ ...one, pseudonym: "Gray Heron" })),
  };
  const tab = await enter();
  server.model.writeSummary("By the admins", { id: null, username: "Gray Heron", avatar_url: null });
  await deliver();
  expect([tab.summary, tab.shown.one.summary?.mine]).toEqual([["By the admins", undefined, false], false]);
});

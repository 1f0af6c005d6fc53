import { afterEach, beforeEach, expect, test } from "vitest";
import { RealtimeClient, type Event, type LogChange, type RealtimeOptions } from "../../src/index.js";
import { FakeBrowser, settle, type FakeTab } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { coded } from "../support/model.js";

const ada = { id: 1, username: "ada", avatar_url: null };
let server: FakeServer;
let browser: FakeBrowser;
const clients: RealtimeClient[] = [];

beforeEach(() => {
  server = new FakeServer();
  browser = new FakeBrowser();
});

afterEach(async () => {
  clients.splice(0).forEach((client) => client.close());
  await settle();
  expect(browser.timers.waiting.size).toBe(0);
  expect(server.parked).toEqual([]);
});

interface Follower {
  client: RealtimeClient;
  seen: Event[];
  changes: LogChange[];
  statuses: string[];
}

function follow(tab: FakeTab = browser.tab(), options: Partial<RealtimeOptions> = {}): Follower {
  const client = new RealtimeClient({
    config: { fetch: server.fetch, token: `user-${options.user ?? 1}` },
    user: 1,
    environment: tab.environment(),
    ...options,
  });
  clients.push(client);
  const follower: Follower = { client, seen: [], changes: [], statuses: [] };
  client.onChange((change) => {
    follower.changes.push(change);
    follower.seen.push(...change.events);
  });
  client.onStatus((status) => follower.statuses.push(status.state));
  client.start();
  return follower;
}

function happen(topic: string): void {
  server.model.createDiscussion(topic, topic, ada);
  server.deliver();
}

const topics = ({ seen }: Follower) =>
  seen.map((event) => (event.type === "new_discussion" ? event.topic : event.type));

test("registers, polls with the cursor, and gives every event once", async () => {
  happen("before");
  const one = follow();
  await settle();
  expect(one.client.status).toEqual({ state: "live" });
  happen("a");
  await settle();
  happen("b");
  await settle();
  expect(topics(one)).toEqual(["a", "b"]);
  expect(one.client.log.head).toBe(3);
  expect(server.requests[0]?.headers.get("authorization")).toBe("Bearer user-1");
});

test("starts from the oldest cached snapshot", async () => {
  happen("a");
  happen("b");
  const one = follow(browser.tab(), { initialCursor: () => 1 });
  await settle();
  expect(topics(one)).toEqual(["b"]);
});

test("registers again when the queue is gone, and continues from the old cursor", async () => {
  const one = follow();
  await settle();
  server.queues.clear();
  server.model.createDiscussion("missed", "missed", ada);
  server.expire();
  await settle();
  expect(topics(one)).toEqual(["missed"]);
  expect(server.count(/register/)).toBe(2);
});

test("catches up from a head that is older than any refetch, and is live when the refetches are done", async () => {
  const tab = browser.tab();
  const one = follow(tab);
  await settle();
  server.forgotten = 3;
  for (const topic of ["a", "b", "c"]) server.model.createDiscussion(topic, topic, ada);
  let finish = () => {};
  one.client.onChange((change) => (change.reset ? new Promise((resolve) => (finish = resolve)) : undefined));
  server.expire();
  await settle();
  expect(one.changes).toEqual([{ events: [], reset: true }]);
  expect(one.client.status).toEqual({ state: "catching_up" });
  happen("d");
  await settle();
  expect(topics(one)).toEqual(["d"]);
  expect(server.queues.size).toBe(1);
  finish();
  await settle();
  expect(one.client.status).toEqual({ state: "live" });
});

test("a cursor ahead of the head makes the client start again", async () => {
  happen("a");
  const one = follow();
  await settle();
  server.model.events.length = 0;
  server.expire();
  await settle();
  expect(one.changes).toEqual([{ events: [], reset: true }]);
  expect(one.client.log.head).toBe(0);
});

test("backs off with full jitter and without end while the server is down, and probes when it is back", async () => {
  const one = follow();
  await settle();
  server.trouble = () => "down";
  server.releasePolls();
  await browser.timers.advance(0);
  // After an early empty answer the client waits first, because the server may be shutting down.
  await browser.timers.advance(600);
  expect(one.client.status).toMatchObject({ state: "stale" });
  const before = server.requests.length;
  await browser.timers.advance(60 * 60_000);
  const perHour = server.requests.length - before;
  expect(perHour).toBeGreaterThan(100);
  expect(perHour).toBeLessThan(600);
  server.trouble = undefined;
  server.model.createDiscussion("meanwhile", "meanwhile", ada);
  await browser.timers.advance(30_000);
  expect(topics(one)).toEqual(["meanwhile"]);
  expect(one.client.status).toEqual({ state: "live" });
});

test("tries at once when the browser comes online or the page comes back from the back/forward cache", async () => {
  const tab = browser.tab();
  const one = follow(tab);
  await settle();
  server.trouble = () => "down";
  tab.online = false;
  tab.signal("offline");
  await settle();
  expect(one.client.status).toMatchObject({ state: "offline" });
  server.trouble = undefined;
  tab.online = true;
  tab.signal("online");
  await settle();
  expect(one.client.status).toEqual({ state: "live" });

  tab.signal("suspend");
  await settle();
  expect(server.parked).toEqual([]);
  expect(server.queues.size).toBe(0);
  server.model.createDiscussion("while away", "while away", ada);
  tab.signal("resume");
  await settle();
  expect(topics(one)).toEqual(["while away"]);
});

test("waits as long as Retry-After says, plus a random time", async () => {
  server.trouble = () => coded(503, "unavailable", { "retry-after": "7" });
  const one = follow();
  await settle();
  expect(one.client.status).toMatchObject({ state: "stale", code: "unavailable" });
  await browser.timers.advance(7_000);
  expect(server.requests).toHaveLength(1);
  await browser.timers.advance(1_000);
  expect(server.requests).toHaveLength(2);
});

test("asks once for a new token when refused, and is signed out when refused again", async () => {
  const asked: boolean[] = [];
  const token = ({ refresh }: { refresh: boolean }) => {
    asked.push(refresh);
    return "old";
  };
  server.trouble = () => coded(401, "token_expired");
  const one = follow(browser.tab(), { config: { fetch: server.fetch, token } });
  await browser.timers.advance(10 * 60_000);
  expect(asked).toEqual([false, true]);
  expect(one.client.status).toEqual({ state: "signed_out", code: "token_expired" });
  server.trouble = undefined;
  one.client.start();
  await settle();
  expect(one.client.status).toMatchObject({ state: "live" });
});

test("sends heartbeats only while a person is active, and registers again when the person returns", async () => {
  const tab = browser.tab();
  const one = follow(tab, { activeWindowMs: 120_000 });
  await settle();
  await browser.timers.advance(60_000);
  expect(server.count(/heartbeat/)).toBe(1);
  tab.visible = false;
  tab.signal("visibility");
  await browser.timers.advance(110_000);
  const beats = server.count(/heartbeat/);
  expect(beats).toBeGreaterThan(1);
  await browser.timers.advance(600_000);
  expect(server.count(/heartbeat/)).toBeLessThanOrEqual(beats + 1);
  server.model.createDiscussion("while idle", "while idle", ada);
  server.expire();
  await browser.timers.advance(600_000);
  expect(one.client.status).toMatchObject({ state: "stale" });
  expect(server.count(/register/)).toBe(1);
  tab.visible = true;
  tab.signal("visibility");
  await settle();
  expect(topics(one)).toEqual(["while idle"]);
});

test("all tabs share one poll, each gets every event once, none forwards it, and the next tab takes over", async () => {
  const tabs = [browser.tab(), browser.tab(), browser.tab()].map((tab) => follow(tab));
  await settle();
  expect(server.parked).toHaveLength(1);
  expect(tabs.map(({ client }) => client.isLeader)).toEqual([true, false, false]);
  expect(tabs.map(({ client }) => client.status.state)).toEqual(["live", "live", "live"]);
  browser.messages.length = 0;
  happen("a");
  await settle();
  expect(tabs.map(topics)).toEqual([["a"], ["a"], ["a"]]);
  expect(browser.messages.filter((message) => (message as { kind: string }).kind === "answer")).toHaveLength(1);

  tabs[0]?.client.close();
  server.model.createDiscussion("b", "b", ada);
  await settle();
  expect(tabs.map(({ client }) => client.isLeader)).toEqual([false, true, false]);
  expect(tabs.map(topics)).toEqual([["a"], ["a", "b"], ["a", "b"]]);
  expect(server.queues.size).toBe(1);
});

test("the leader gives a later tab the events that its snapshot lacks", async () => {
  const first = follow();
  await settle();
  happen("a");
  await settle();
  happen("b");
  await settle();
  const late = follow(browser.tab(), { initialCursor: () => 1 });
  await settle();
  expect(topics(late)).toEqual(["b"]);
  expect(topics(first)).toEqual(["a", "b"]);
  expect(late.client.log.head).toBe(2);
});

test("another user's tabs get no messages", async () => {
  const mine = follow();
  const other = follow(browser.tab(), { user: 2 });
  await settle();
  expect([mine.client.isLeader, other.client.isLeader]).toEqual([true, true]);
});

test("without Web Locks every tab polls for itself and gets no event twice", async () => {
  const tabs = [browser.tab({ locks: false }), browser.tab({ locks: false })].map((tab) => follow(tab));
  await settle();
  expect(server.parked).toHaveLength(2);
  happen("a");
  await settle();
  expect(tabs.map(topics)).toEqual([["a"], ["a"]]);
});

test("close() leaves no timer, no listener, no parked poll, and closes the queue", async () => {
  const tab = browser.tab();
  const one = follow(tab);
  await settle();
  expect(server.queues.size).toBe(1);
  one.client.close();
  await settle();
  expect(server.queues.size).toBe(0);
  expect(server.parked).toEqual([]);
  expect(browser.timers.waiting.size).toBe(0);
  expect(tab.listening).toBe(0);
});

test("a poll that is never answered ends", async () => {
  const one = follow();
  await settle();
  await browser.timers.advance(64_000);
  expect(one.statuses).toEqual(["live"]);
  await browser.timers.advance(1_000);
  expect(one.statuses.slice(0, 2)).toEqual(["live", "stale"]);
});

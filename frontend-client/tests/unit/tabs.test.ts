import { afterEach, beforeEach, expect, test } from "vitest";
import { RealtimeClient, type Environment, type Event, type LogChange, type RealtimeOptions } from "../../src/index.js";
import { FakeBrowser, settle, type FakeTab } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { coded } from "../support/model.js";

const ada = { id: 1, username: "ada", avatar_url: null };
const minute = 60_000;
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
}

function follow(
  tab: FakeTab = browser.tab(),
  environment: Partial<Environment> = {},
  options: Partial<RealtimeOptions> = {},
): Follower {
  const client = new RealtimeClient({
    config: { fetch: server.fetch, token: "user-1" },
    user: 1,
    environment: { ...tab.environment(), ...environment },
    ...options,
  });
  clients.push(client);
  const follower: Follower = { client, seen: [], changes: [] };
  client.onChange((change) => {
    follower.changes.push(change);
    follower.seen.push(...change.events);
  });
  client.start();
  return follower;
}

function happen(topic: string): void {
  server.model.createDiscussion(topic, topic, ada);
  server.deliver();
}

const topics = ({ seen }: Follower) =>
  seen.map((event) => (event.type === "new_discussion" ? event.topic : event.type));
const channel = () => {
  const name = browser.channelNames[0];
  if (!name) throw new Error("no channel is open");
  return browser.openChannel(name);
};

test("a tab that is read without a click keeps the hidden leader's queue alive", async () => {
  const tab = browser.tab();
  const leader = follow(tab);
  await settle();
  const reader = follow();
  await settle();
  tab.visible = false;
  tab.signal("visibility");
  await browser.timers.advance(20 * minute);
  expect([leader.client.isLeader, reader.client.isLeader]).toEqual([true, false]);
  const beats = server.count(/heartbeat/);
  await browser.timers.advance(10 * minute);
  expect(server.count(/heartbeat/) - beats).toBeGreaterThanOrEqual(9);
});

test("another tab steals the lock of a leader that hangs, and the old leader follows when it is awake again", async () => {
  const hung = browser.tab();
  const answered: typeof fetch = async (input, init) => {
    const response = await server.fetch(input, init);
    await new Promise<void>((resolve) => browser.run(hung, resolve));
    return response;
  };
  const first = follow(hung, {}, { config: { fetch: answered, token: "user-1" } });
  await settle();
  const others = [follow(), follow()];
  await settle();
  browser.hang(hung);
  await browser.timers.advance(80_000);
  expect(others.map(({ client }) => client.status.state)).toEqual(["stale", "stale"]);
  happen("while it hung");
  await browser.timers.advance(60_000);
  expect(others.filter(({ client }) => client.isLeader)).toHaveLength(1);
  expect(others.map(({ client }) => client.status.state)).toEqual(["live", "live"]);
  expect(others.map(topics)).toEqual([["while it hung"], ["while it hung"]]);
  browser.awake(hung);
  await settle();
  happen("after it woke");
  await settle();
  expect(first.client.isLeader).toBe(false);
  expect(others.map((one) => topics(one).at(-1))).toEqual(["after it woke", "after it woke"]);
  expect(first.client.log.head).toBe(server.model.head);
});

test("if locks and channels are refused, each tab polls for itself", async () => {
  const refuse = () => {
    throw new DOMException("storage is blocked", "SecurityError");
  };
  const noChannel = follow(browser.tab(), { openChannel: refuse });
  const noLocks = follow(browser.tab(), {
    locks: { request: () => Promise.reject(new DOMException("no", "SecurityError")) },
  });
  const throws = follow(browser.tab(), { locks: { request: refuse } });
  await settle();
  happen("to all");
  await settle();
  for (const one of [noChannel, noLocks, throws]) {
    expect(one.client.status).toEqual({ state: "live" });
    expect(topics(one)).toEqual(["to all"]);
  }
});

test("a registration or a token function that never answers ends and is tried again", async () => {
  let hang = true;
  const token = () => (hang ? new Promise<string>(() => undefined) : Promise.resolve("user-1"));
  const one = follow(browser.tab(), {}, { config: { fetch: server.fetch, token } });
  await browser.timers.advance(minute);
  expect(one.client.status.state).toBe("stale");
  hang = false;
  await browser.timers.advance(minute);
  expect(one.client.status.state).toBe("live");
});

test("after a refusal that will probably stay, the client tries some times an hour, not hundreds", async () => {
  server.trouble = (path) => (path === "/register" ? coded(403, "no_communities") : undefined);
  const tab = browser.tab();
  const one = follow(tab);
  await settle();
  expect(one.client.status).toMatchObject({ state: "stale", code: "no_communities" });
  for (let minutes = 0; minutes < 60; minutes += 1) {
    tab.signal("used");
    await browser.timers.advance(minute);
  }
  expect(server.count(/register/)).toBeLessThan(15);
  server.trouble = undefined;
  one.client.reconnect();
  await settle();
  expect(one.client.status).toEqual({ state: "live" });
});

test("if the server requires a catch-up each time, the client waits in between", async () => {
  follow();
  await settle();
  server.forgotten = Number.MAX_SAFE_INTEGER;
  server.releasePolls();
  await browser.timers.advance(minute);
  expect(server.count(/register/)).toBeLessThan(20);
  server.forgotten = 0;
  await browser.timers.advance(minute);
  expect(clients[0]?.status).toEqual({ state: "live" });
});

test("messages of other versions are ignored, and a follower recovers from a false head", async () => {
  follow();
  await settle();
  const other = follow();
  await settle();
  const stranger = channel();
  const bad = [
    null,
    7,
    "answer",
    {},
    { kind: "answer" },
    { kind: "answer", from: 0, head: 1e300, events: [] },
    { kind: "answer", from: 0, head: 5, events: [null] },
    { kind: "status" },
    { kind: "hello", tab: 1 },
    { kind: "answer", from: -1, head: 0, events: [] },
    { kind: "answer", from: 9, head: 1, events: [] },
  ];
  bad.forEach((message) => stranger.postMessage(message));
  await settle();
  happen("a");
  await settle();
  expect(topics(other)).toEqual(["a"]);
  stranger.postMessage({ kind: "answer", from: 1, head: 2 ** 50, events: [] });
  await settle();
  happen("b");
  await settle();
  expect(topics(other)).toEqual(["a", "b"]);
  expect(other.client.log.head).toBe(server.model.head);
  stranger.close();
});

test("signs of life continue after the clock is set back", async () => {
  follow();
  await settle();
  const tab = browser.tab();
  let back = 0;
  follow(tab, {
    timers: { now: () => browser.timers.now() - back, set: browser.timers.set, clear: browser.timers.clear },
  });
  await settle();
  tab.signal("used");
  back = 60 * minute;
  browser.messages.length = 0;
  await browser.timers.advance(minute);
  tab.signal("used");
  expect(browser.messages).toContainEqual({ kind: "active" });
});

test("start() works inside a status listener, and coming online after signed_out does no harm", async () => {
  server.trouble = () => coded(401, "token_expired");
  const tab = browser.tab();
  const one = follow(tab);
  await settle();
  expect(one.client.status.state).toBe("signed_out");
  tab.signal("online");
  tab.signal("used");
  const off = one.client.onStatus((status) => {
    if (status.state !== "signed_out") return;
    off();
    server.trouble = undefined;
    one.client.start();
  });
  one.client.start();
  await settle();
  expect(one.client.status).toEqual({ state: "live" });
});

test("if a listener throws, the others are still called and its error is reported", async () => {
  const reported: unknown[] = [];
  const scope = globalThis as { reportError?: (error: unknown) => void };
  const before = scope.reportError;
  scope.reportError = (error) => reported.push(error);
  try {
    const one = follow();
    one.client.onChange(() => {
      throw new Error("the application's");
    });
    one.client.onChange(async () => Promise.reject(new Error("later")));
    const told: Event[] = [];
    one.client.onChange((change) => void told.push(...change.events));
    one.client.onStatus(() => {
      throw new Error("of the status");
    });
    await settle();
    happen("a");
    await settle();
    expect(told).toHaveLength(1);
    expect(one.client.status).toEqual({ state: "live" });
    expect(reported.map((error) => (error as Error).message).sort()).toEqual([
      "later",
      "of the status",
      "the application's",
    ]);
  } finally {
    if (before) scope.reportError = before;
    else delete scope.reportError;
  }
});

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { NextApp, NextSite, SilentServer } from "../support/next-app.js";
import { ADA, GRACE, Writer } from "../support/pages.js";
import { Server, until } from "../support/server.js";

const OPEN = "/community/1";
const REPLICATION_LAB = "/community/2";
const PLAN = "Plan for our replication";
const RAW_DATA = "Where is the raw data?";

let app: NextApp;
let server: Server;
let site: NextSite;
let grace: Writer;
let silentBuild: SilentServer;

beforeAll(async () => {
  app = await NextApp.create();
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20", ALLOWED_ORIGINS: app.url });
  site = new NextSite(app, server);
  grace = await Writer.as(server, GRACE);
  await server.kill();
  silentBuild = await SilentServer.at(server.url);
  await app.build(server.url);
  await silentBuild.close();
  await server.start();
  await app.start(server.url);
}, 150_000);
afterEach(() => site.leave());
afterAll(async () => {
  await app?.close();
  await server?.close();
});

const discuss = (topic: string, community = 1) =>
  grace.send("POST", "/articles/1/discussions", { community_id: community, topic, text: "A question." });
const topic = (page: Page, name: string) => page.getByText(`${name} (`);
const isList = ({ call }: { call: string }) => call === "GET /articles/1/discussions";
const isPoll = ({ call }: { call: string }) => call === "GET /poll";

test("the server's HTML has the discussions, of a private community for its members alone", async () => {
  expect(await site.html(OPEN)).toContain(RAW_DATA);
  expect(await site.html(REPLICATION_LAB)).not.toContain(PLAN);
  expect(await site.html(REPLICATION_LAB, ADA)).toContain(PLAN);
});

test("hydration is silent and fetches no list again, signed out and signed in", async () => {
  const reader = await site.people.enter();
  const ofReader = site.callsOf(reader.context);
  const open = await site.visit(reader, OPEN);
  await topic(open, RAW_DATA).waitFor();
  await open.waitForLoadState("networkidle");
  expect(ofReader).toEqual([]);

  const ada = await site.signedIn(ADA);
  const calls = site.callsOf(ada.context);
  const page = await site.visit(ada, REPLICATION_LAB);
  await until("the page polls", () => calls.some(isPoll));
  await discuss("Seen without a second fetch", 2);
  await topic(page, "Seen without a second fetch").waitFor();
  await topic(page, PLAN).waitFor();
  expect(calls.filter(isList)).toEqual([]);
  expect(site.complaints).toEqual([]);
});

test("a discussion that begins between rendering and hydration appears, without a fetch of the list", async () => {
  const ada = await site.signedIn(ADA);
  const calls = site.callsOf(ada.context);
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  await ada.context.route("**/_next/static/**/*.js", async (route) => {
    await released;
    await route.continue();
  });
  const page = await site.visit(ada, OPEN);
  await topic(page, RAW_DATA).waitFor();
  await discuss("Begun before hydration");
  expect(await topic(page, "Begun before hydration").count()).toBe(0);
  expect(calls).toEqual([]);
  release();
  await topic(page, "Begun before hydration").waitFor();
  expect(calls.filter(isList)).toEqual([]);
  expect(site.complaints).toEqual([]);
});

test("a list that is streamed after the page is live hydrates silently, and then has what began meanwhile", async () => {
  const ada = await site.signedIn(ADA);
  const calls = site.callsOf(ada.context);
  const page = await site.visit(ada, "/streamed");
  await until("the server has rendered the list", () => app.isHeld);
  await until("the page polls", () => calls.some(isPoll));
  const answered = page.waitForResponse((response) => response.url().includes("/poll"));
  await discuss("Begun before the list was sent");
  await answered;
  app.release();
  await topic(page, "Begun before the list was sent").waitFor();
  await page.getByText("Status: live").waitFor();
  expect(calls.filter(isList)).toEqual([]);
  expect(site.complaints).toEqual([]);
});

test("a draft is there after a reload, hydration is silent, and the comment appears in another browser", async () => {
  const ada = await site.signedIn(ADA);
  const page = await site.visit(ada, "/discussion/1");
  const other = await site.visit(await site.signedIn(GRACE), "/discussion/1");
  const text = "The power is $1 - \\beta$.";
  const field = page.getByLabel("Write a comment");
  await page.getByRole("article").first().waitFor();
  // What is typed before hydration would be lost, as in every page that a server renders.
  await page.waitForFunction(() =>
    Object.keys(document.querySelector("textarea") ?? {}).some((name) => name.startsWith("__reactProps")),
  );
  await field.fill(text);
  await page.reload();
  await until("the draft is back", async () => (await field.inputValue()) === text);
  await page.getByRole("button", { name: "Comment", exact: true }).click();
  await other.getByRole("article").filter({ hasText: "The power is" }).locator(".katex").first().waitFor();
  expect(site.complaints).toEqual([]);
});

test("a snapshot that is older than the cache does not replace it, although the browser's clock is behind", async () => {
  const ada = await site.signedIn(ADA);
  const calls = site.callsOf(ada.context);
  await ada.context.addInitScript(() => {
    const now = Date.now;
    Date.now = () => now() - 3_600_000;
  });
  const page = await site.visit(ada, OPEN);
  await until("the page polls", () => calls.some(isPoll));
  await page.getByRole("link", { name: "Replication lab" }).click();
  await topic(page, PLAN).waitFor();
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  let rendered = false;
  await page.route(`**${OPEN}?_rsc=*`, async (route) => {
    const response = await route.fetch();
    rendered = true;
    await released;
    await route.fulfill({ response });
  });
  await page.getByRole("link", { name: "Open community" }).click();
  await until("the snapshot is on its way", () => rendered);
  await discuss("Begun while the snapshot was on its way", 1);
  await discuss("Seen in the lab", 2);
  await topic(page, "Seen in the lab").waitFor();
  release();
  await topic(page, "Begun while the snapshot was on its way").waitFor();
  expect(calls.filter(isList)).toEqual([]);
  expect(site.complaints).toEqual([]);
});

test("soft navigation keeps what is newer than the server's snapshot, and fetches nothing from the browser", async () => {
  const ada = await site.signedIn(ADA);
  const calls = site.callsOf(ada.context);
  const page = await site.visit(ada, OPEN);
  await until("the page polls", () => calls.some(isPoll));
  await page.evaluate(() => ((window as never as { kept: boolean }).kept = true));
  await discuss("Newer than the first snapshot");
  await topic(page, "Newer than the first snapshot").waitFor();
  await page.getByRole("link", { name: "Replication lab" }).click();
  await topic(page, PLAN).waitFor();
  await discuss("Begun while the list was off screen");
  // Back shows the first snapshot, which the router has kept.
  await page.goBack();
  await topic(page, "Begun while the list was off screen").waitFor();
  await topic(page, "Newer than the first snapshot").waitFor();
  await page.getByRole("link", { name: "Replication lab" }).click();
  await topic(page, PLAN).waitFor();
  // A link gets a new snapshot.
  await page.getByRole("link", { name: "Open community" }).click();
  await topic(page, "Begun while the list was off screen").waitFor();
  await discuss("Live after all of that");
  await topic(page, "Live after all of that").waitFor();
  await topic(page, "Newer than the first snapshot").waitFor();
  expect(await page.evaluate(() => (window as never as { kept?: boolean }).kept)).toBe(true);
  expect(calls.filter(isList)).toEqual([]);
  expect(calls.filter(({ call }) => call === "POST /register")).toHaveLength(1);
  expect(site.complaints).toEqual([]);
});

test("of two tabs one polls, and both show a new discussion", async () => {
  const ada = await site.signedIn(ADA);
  const calls = site.callsOf(ada.context);
  const first = await site.visit(ada, OPEN);
  await until("the first tab polls", () => calls.some(isPoll));
  const second = await site.visit(ada, OPEN);
  await topic(second, RAW_DATA).waitFor();
  await second.waitForLoadState("networkidle");
  await discuss("For both tabs");
  await Promise.all([first, second].map((page) => topic(page, "For both tabs").waitFor()));
  expect(calls.filter(isPoll).every(({ page }) => page === first)).toBe(true);
  expect(calls.filter(isList)).toEqual([]);
  expect(site.complaints).toEqual([]);
});

test("with a server that hangs, a page takes three seconds and next build does not wait", async () => {
  // The build asked once for its prerendered page.
  expect(silentBuild.requests).toBe(1);
  // Next.js itself would wait for a minute.
  expect(silentBuild.waitedMs).toBeGreaterThan(2_000);
  expect(silentBuild.waitedMs).toBeLessThan(20_000);
  await server.kill();
  const silent = await SilentServer.at(server.url);
  const began = Date.now();
  expect(await site.html(OPEN)).toContain("Open community");
  expect(Date.now() - began).toBeLessThan(5_000);
  await silent.close();
  expect(await site.html(OPEN)).toContain("Open community");
  await server.start();
  const page = await site.visit(await site.people.enter(), "/prerendered");
  await topic(page, RAW_DATA).waitFor();
});

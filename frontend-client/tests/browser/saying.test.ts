import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ADA, ALAN, comment, field, GRACE, live, MARIE, open, People, write, Writer } from "../support/pages.js";
import { Server, until } from "../support/server.js";

const REPLICATION_LAB = 2;
const BLIND_REVIEW = 3;

let server: Server;
const people = new People();

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20" });
});
afterEach(() => people.leave());
afterAll(() => server.close());

/** An answer that the client does not repeat by itself. */
const refusal = { status: 400, json: { code: "invalid_parameter", message: "the server is confused", fields: {} } };

describe("what could not be loaded", () => {
  test("a thread says so, can be tried again, and can be written in", async () => {
    const ada = await open(await people.enter(), server, `user=${ADA}`);
    await ada.route("**/discussions/2/comments?*", (route) => route.fulfill(refusal));
    await ada.getByRole("link", { name: /Where is the raw data/ }).click();
    const notice = ada.locator(".thread .notice");
    await notice.getByText("The comments could not be loaded: the server is confused").waitFor();
    expect(await ada.getByText(/Members of .* can write here/).count()).toBe(0);
    expect(await field(ada).count()).toBe(1);
    await ada.unroute("**/discussions/2/comments?*");
    await notice.getByRole("button", { name: "Try again to load the comments" }).click();
    await comment(ada, "The authors answered my mail: it will be there with the next version.").waitFor();
    expect(await notice.count()).toBe(0);
  });

  test("more comments likewise, and what is loaded stays", async () => {
    const { id } = await (await Writer.as(server, GRACE)).thread("More than a page", 101);
    const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
    await ada.route("**/comments?*cursor*", (route) => route.fulfill(refusal));
    await ada.getByRole("button", { name: "Show more comments" }).click();
    await ada.getByText("More comments could not be loaded: the server is confused").first().waitFor();
    await comment(ada, "Remark 100").waitFor();
    await ada.unroute("**/comments?*cursor*");
    await ada.getByRole("button", { name: "Try again to load the comments" }).click();
    await ada.getByRole("button", { name: "Show more comments" }).click();
    await comment(ada, "Remark 101").waitFor();
  });

  test("a discussion that the list does not have says why it is not shown", async () => {
    const one = await people.enter();
    const ada = await one.context.newPage();
    await ada.route("**/discussions/2{,/comments?*}", (route) => route.fulfill(refusal));
    await ada.goto(`${server.url}/?user=${ADA}&community=${REPLICATION_LAB}&discussion=2`);
    const notice = ada.locator(".detail .notice");
    await notice.getByText("This discussion could not be loaded: the server is confused").waitFor();
    await ada.unroute("**/discussions/2{,/comments?*}");
    await notice.getByRole("button", { name: "Try again to load the discussion" }).click();
    await ada.getByRole("heading", { name: "Where is the raw data?" }).waitFor();
    const marie = await open(await people.enter(), server, `user=${MARIE}&discussion=3`);
    await marie.getByText("This discussion is not there, or not for you to see.").first().waitFor();
  });

  test("the list of discussions says so too", async () => {
    const one = await people.enter();
    const ada = await one.context.newPage();
    await ada.route("**/articles/1/discussions*", (route) => route.fulfill(refusal));
    await ada.goto(`${server.url}/?user=${ADA}`);
    await ada.getByText("The discussions could not be loaded: the server is confused").first().waitFor();
    await ada.unroute("**/articles/1/discussions*");
    await ada.getByRole("button", { name: "Try again to load the discussions" }).click();
    await ada.getByRole("link", { name: /Where is the raw data/ }).waitFor();
  });
});

test("'edited' is said of texts, and of resolving who did it and when", async () => {
  const grace = await Writer.as(server, GRACE);
  const { id } = await grace.thread("To be resolved", 1);
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
  await grace.send("PATCH", `/discussions/${id}`, { is_resolved: true });
  const today = new Date().toLocaleDateString("en-GB", { dateStyle: "long" });
  await until("it says who and when", async () =>
    ((await ada.locator(".resolution").textContent()) ?? "").includes(`Resolved by grace on ${today}`),
  );
  expect(await ada.locator(".thread header").getByText("edited").count()).toBe(0);
  await grace.send("PATCH", `/discussions/${id}`, { text: "A long thread, in other words." });
  await ada.locator(".thread header").getByText("edited", { exact: true }).waitFor();
  await ada.getByRole("button", { name: "Reopen the discussion" }).click();
  await ada.locator(".resolution").waitFor({ state: "detached" });
});

test("thread and form say who reads and under which name one signs, and New keeps the open community", async () => {
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=1`);
  await ada.locator(".thread header").getByText("Everybody can read this.").waitFor();
  await ada.locator(".dock").getByText("Everybody can read this. You sign as ada.").waitFor();
  await ada.getByRole("link", { name: /Plan for our replication/ }).click();
  await ada.locator(".thread header").getByText("Only members of Replication lab can read this.").waitFor();

  await ada.getByRole("link", { name: "New", exact: true }).click();
  const community = ada.getByRole("combobox", { name: "Community" });
  expect(await community.inputValue()).toBe(String(REPLICATION_LAB));
  const form = ada.locator(".thread form");
  await form.getByText("Only members of Replication lab can read this. You sign as ada.").waitFor();
  await community.selectOption({ label: "Blind review" });
  await form.getByText(/Only members of Blind review can read this\. Others do not see that it exists\./).waitFor();
  await form.getByText(/or with a pseudonym/).waitFor();
  await ada.reload();
  await live(ada);
  expect(await community.inputValue()).toBe(String(BLIND_REVIEW));
  await ada
    .getByRole("link", { name: /Open methods/ })
    .first()
    .click();
  await ada.getByRole("link", { name: "New", exact: true }).click();
  expect(await community.inputValue()).toBe("1");
});

test("whoever writes under a pseudonym never sees their name there, from the first frame on", async () => {
  const alan = await open(await people.enter(), server, `user=${ALAN}&discussion=new&into=${BLIND_REVIEW}`);
  await alan.getByLabel("Topic").waitFor();
  await alan.evaluate(() => {
    const names = ((window as never as { names: string[] }).names = []) as string[];
    new MutationObserver(() => {
      for (const name of document.querySelectorAll(".thread .byline .name, .card .meta bdi")) {
        const own = name.closest(".thread, .card")?.textContent?.includes("Unsigned");
        if (own && name.textContent && !names.includes(name.textContent)) names.push(name.textContent);
      }
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  await alan.getByLabel("Topic").fill("Unsigned doubts");
  await alan.getByLabel("Text").fill("The control group is missing.");
  await alan.getByRole("button", { name: "Start discussion" }).click();
  await alan.getByRole("heading", { name: "Unsigned doubts" }).waitFor();
  await write(alan, "Unsigned, too.");
  await comment(alan, "Unsigned, too.").waitFor();
  await alan.locator(".comment .byline time").waitFor();
  const names = await alan.evaluate(() => (window as never as { names: string[] }).names);
  expect(names).not.toContain("alan");
  expect(names.some((name) => /^\w+ \w+ \d+$/.test(name))).toBe(true);
  await alan
    .locator(".dock")
    .getByText(/You sign as \w+ \w+ \d+, your pseudonym here\./)
    .waitFor();
});

test("whoever is signed out is told, and finds the way back", async () => {
  const { id } = await (await Writer.as(server, GRACE)).thread("Read to the end", 20);
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
  await comment(ada, "Remark 20").scrollIntoViewIfNeeded();
  const expired = { status: 401, json: { code: "token_expired", message: "the token has expired", fields: {} } };
  await ada.route(/\/(poll|register)/, (route) => route.fulfill(expired));
  await (await Writer.as(server, GRACE)).comment(1, "This ends the parked poll.");
  const banner = ada.getByRole("region", { name: "Signed out" });
  await banner.getByText("You are signed out.").waitFor();
  // It is there wherever one reads.
  expect((await banner.boundingBox())?.y).toBeGreaterThanOrEqual(0);
  await field(ada).fill("Kept while signed out");
  await ada.unroute(/\/(poll|register)/);
  await banner.getByRole("button", { name: "Sign in again as ada" }).click();
  await live(ada);
  expect(await banner.count()).toBe(0);
  expect(await field(ada).inputValue()).toBe("Kept while signed out");
});

test("while it reconnects the page says when it tries again, and tries now if asked", async () => {
  const one = await people.enter();
  await one.context.clock.install();
  const ada = await open(one, server, `user=${ADA}&discussion=1`);
  const tries: string[] = [];
  ada.on("request", (request) => /\/(poll|register)/.test(request.url()) && tries.push(request.url()));
  await server.kill();
  const badge = ada.locator('.badge[data-state="stale"]');
  const waits = badge.getByText(/Reconnecting · as of .* · in [1-9]\d* s · try now/);
  await waits.waitFor();
  // It waits for longer after each try.
  await until("it has tried some times", async () => {
    await ada.clock.fastForward(30_000);
    return tries.length > 4;
  });
  // While its clock stands still it tries nothing by itself.
  await ada.clock.pauseAt(await ada.evaluate(() => Date.now() + 100));
  await waits.waitFor();
  const before = tries.length;
  // By the keyboard: while the clock stands still, a click sometimes lands where the button was in an earlier frame.
  await badge.getByRole("button", { name: "try now" }).press("Enter");
  await until("it tries now", () => tries.length > before, 1_000);
  await waits.waitFor();
  await server.start();
  await ada.clock.resume();
  await ada.clock.fastForward(60_000);
  await ada.locator('[data-state="live"]').waitFor();
  expect(await ada.getByRole("button", { name: "try now" }).count()).toBe(0);
});

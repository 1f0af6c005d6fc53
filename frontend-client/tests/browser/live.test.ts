import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { person, type Person } from "../support/browser.js";
import { Server, until } from "../support/server.js";

const ADA = 1;
const GRACE = 2;
const MARIE = 5;
const REPLICATION_LAB = 2;

let server: Server;
const people: Person[] = [];

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20" });
});
afterEach(async () => {
  await Promise.all(people.splice(0).map((one) => one.close()));
});
afterAll(() => server.close());

async function enter(options?: Parameters<typeof person>[0]): Promise<Person> {
  const one = await person(options);
  people.push(one);
  return one;
}

async function open(one: Person, query: string): Promise<Page> {
  const page = await one.context.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(`${server.url}/?${query}`);
  await live(page);
  return page;
}

const live = (page: Page) => page.locator('[data-state="live"]').waitFor();
const comment = (page: Page, text: string) =>
  page.locator(".comment article", { has: page.getByText(text, { exact: true }) });

async function write(page: Page, text: string): Promise<void> {
  await page.getByLabel("Write a comment").fill(text);
  await page.getByRole("button", { name: "Comment", exact: true }).click();
}

describe("two people", () => {
  test("see each other's comments, edits, replies and deletions appear", async () => {
    const one = await enter();
    await one.context.clock.install();
    const ada = await open(one, `user=${ADA}&discussion=1`);
    const grace = await open(await enter(), `user=${GRACE}&discussion=1`);

    await write(ada, "Does the effect survive a mixed model?");
    await comment(grace, "Does the effect survive a mixed model?").waitFor();
    expect(await grace.getByRole("status").textContent()).toBe("1 new comment, by ada");
    await grace.getByRole("button", { name: "1 new" }).waitFor();

    await comment(grace, "Does the effect survive a mixed model?")
      .getByRole("button", { name: "Reply to ada" })
      .click();
    await grace.getByRole("textbox", { name: "Reply to ada" }).fill("It does, barely.");
    await grace.keyboard.press("Control+Enter");
    await comment(ada, "It does, barely.").waitFor();

    await comment(ada, "Does the effect survive a mixed model?").getByRole("button", { name: "Edit" }).click();
    await ada.getByLabel("Edit your comment").fill("Does it survive a mixed model?");
    await ada.getByRole("button", { name: "Save" }).click();
    await comment(grace, "Does it survive a mixed model?").waitFor();

    await comment(ada, "Does it survive a mixed model?").getByRole("button", { name: "Delete" }).click();
    await ada.getByText("This comment was deleted.").waitFor();
    // It can be undone until then.
    await ada.clock.fastForward(6_000);
    await grace.getByText("This comment was deleted.").waitFor();
    await comment(grace, "It does, barely.").waitFor();
  });

  test("see each other's votes, each their own in all their tabs, and votes survive double clicks", async () => {
    const ada = await open(await enter(), `user=${ADA}&discussion=1`);
    const one = await enter();
    const grace = [
      await open(one, `user=${GRACE}&discussion=1`),
      await open(one, `user=${GRACE}&discussion=1`),
    ] as const;
    const text = "Vote on this, please.";
    await write(ada, text);
    const up = (page: Page) => comment(page, text).getByRole("button", { name: /^Vote up: the comment by ada/ });
    await up(grace[0]).click();
    // The author has no buttons, but sees the sum.
    await comment(ada, text).getByText("Votes up: 1").waitFor();
    expect(await comment(ada, text).getByRole("button", { name: /^Vote/ }).count()).toBe(0);
    const shows = async (page: Page, name: string, pressed: boolean) =>
      comment(page, text).getByRole("button", { name, exact: true, pressed }).waitFor();
    await shows(grace[1], "Vote up: the comment by ada, now 1", true);
    // Only when the second click is written may the other tab vote: the last vote counts.
    const written = grace[0].waitForResponse(
      (response) => response.url().endsWith("/vote") && response.request().postData() === '{"value":1}',
    );
    await up(grace[0]).dblclick();
    await written;
    await shows(grace[1], "Vote up: the comment by ada, now 1", true);
    await comment(grace[1], text)
      .getByRole("button", { name: /^Vote down/ })
      .click();
    for (const page of grace) {
      await shows(page, "Vote down: the comment by ada, now 1", true);
      await shows(page, "Vote up: the comment by ada, now 0", false);
    }
    await comment(ada, text).getByText("Votes down: 1").waitFor();
    await grace[0].reload();
    await shows(grace[0], "Vote down: the comment by ada, now 1", true);
  });

  test("see discussions begin and be resolved", async () => {
    const ada = await open(await enter(), `user=${ADA}`);
    const grace = await open(await enter(), `user=${GRACE}`);
    await ada.getByRole("link", { name: "New", exact: true }).click();
    await ada.getByLabel("Topic").fill("Blinding of the raters");
    await ada.getByLabel("Text").fill("Who knew the conditions?");
    await ada.getByRole("button", { name: "Start discussion" }).click();
    await ada.getByRole("heading", { name: "Blinding of the raters" }).waitFor();
    await grace.getByRole("link", { name: /Blinding of the raters/ }).click();
    await ada.getByRole("button", { name: "Mark as resolved" }).click();
    await grace.locator(".thread .resolved").waitFor();
    expect(await grace.getByRole("link", { name: /Blinding of the raters/ }).count()).toBe(1);
  });
});

test("the author sees a comment once, in the same element from the click on", async () => {
  const ada = await open(await enter(), `user=${ADA}&discussion=2`);
  await ada.evaluate(() => {
    (window as never as { most: number }).most = 0;
    new MutationObserver(() => {
      const now = [...document.querySelectorAll(".comment .prose")].filter(
        (item) => item.textContent === "Only once, please.",
      ).length;
      const holder = window as never as { most: number; gone: boolean };
      if (holder.most > 0 && now === 0) holder.gone = true;
      holder.most = Math.max(holder.most, now);
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  await write(ada, "Only once, please.");
  await comment(ada, "Only once, please.").waitFor();
  await comment(ada, "Only once, please.").getByRole("button", { name: "Delete" }).waitFor();
  await ada.waitForTimeout(1_000);
  expect(
    await ada.evaluate(() => {
      const { most, gone = false } = window as never as { most: number; gone?: boolean };
      return { most, gone };
    }),
  ).toEqual({ most: 1, gone: false });
});

test("two tabs share one poll, and the other takes over when the leader closes", async () => {
  const ada = await enter();
  const polls: Page[] = [];
  ada.context.on("request", (request) => {
    if (new URL(request.url()).pathname === "/poll") polls.push(request.frame().page());
  });
  const first = await open(ada, `user=${ADA}&discussion=1`);
  const second = await open(ada, `user=${ADA}&discussion=1`);
  const grace = await open(await enter(), `user=${GRACE}&discussion=1`);
  await write(grace, "For both tabs.");
  await Promise.all([comment(first, "For both tabs.").waitFor(), comment(second, "For both tabs.").waitFor()]);
  expect(new Set(polls)).toEqual(new Set([first]));
  expect(await comment(second, "For both tabs.").count()).toBe(1);

  await first.close();
  await until("the second tab polls", () => polls.includes(second));
  await write(grace, "For the one that is left.");
  await comment(second, "For the one that is left.").waitFor();
});

test("a page continues after a crash of the server and misses nothing", async () => {
  const ada = await open(await enter(), `user=${ADA}&discussion=1`);
  await server.kill();
  await ada.locator('[data-state="stale"]').waitFor();
  await server.start();
  const token = await server.token(GRACE);
  for (const text of ["One while nobody heard.", "Two while nobody heard."]) {
    const response = await fetch(`${server.url}/discussions/1/comments`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify({ text }),
    });
    expect(response.status).toBe(201);
  }
  await live(ada);
  await comment(ada, "One while nobody heard.").waitFor();
  await comment(ada, "Two while nobody heard.").waitFor();
});

test("a removed member's page stops updating and says why", async () => {
  const ada = await open(await enter(), `user=${ADA}&community=${REPLICATION_LAB}&discussion=3`);
  await ada.getByRole("heading", { name: "Plan for our replication" }).waitFor();
  await server.membership(ADA, REPLICATION_LAB, null);
  await ada.locator(".notice").filter({ hasText: "You are no longer a member of Replication lab." }).waitFor();
  await until(
    "the private text is gone",
    async () => (await ada.getByText("agree on the exclusion rules").count()) === 0,
  );
  const grace = await open(await enter(), `user=${GRACE}&discussion=3`);
  await write(grace, "Members only.");
  await comment(grace, "Members only.").waitFor();
  expect(await ada.getByText("Members only.").count()).toBe(0);
  await server.membership(ADA, REPLICATION_LAB, "member");
  await comment(ada, "Members only.").waitFor();
});

test("a comment with script, a handler or a javascript: link does nothing, and no other host is asked", async () => {
  const marie = await open(await enter(), `user=${MARIE}&discussion=2`);
  const elsewhere: string[] = [];
  const dialogs: string[] = [];
  marie.on("request", (request) => {
    if (!request.url().startsWith(server.url) && !request.url().startsWith("data:")) elsewhere.push(request.url());
  });
  marie.on("dialog", (dialog) => {
    dialogs.push(dialog.message());
    void dialog.dismiss();
  });
  await write(
    marie,
    [
      "<script>alert(1)</script> <img src=x onerror=alert(2)> <a href='javascript:alert(3)'>html</a>",
      "",
      "[a link](javascript:alert(4)) [another](data:text/html,<script>alert(5)</script>) ![picture](http://127.0.0.9:9/p.png)",
      "",
      "The end of it.",
    ].join("\n"),
  );
  const written = marie.locator(".comment", { has: marie.getByText("The end of it.") }).last();
  await written.getByRole("button", { name: "Edit" }).waitFor();
  expect(await written.locator("script, img, [onerror], [href^='javascript'], [href^='data']").count()).toBe(0);
  for (const text of ["a link", "another"]) await written.getByText(text, { exact: true }).click();
  expect({ dialogs, elsewhere }).toEqual({ dialogs: [], elsewhere: [] });
});

test("everything can be done with the keyboard", async () => {
  const ada = await open(await enter(), `user=${ADA}`);
  await ada.keyboard.press("Tab");
  expect(await ada.evaluate(() => document.activeElement?.textContent)).toBe("Skip to the discussions");
  const target = ada.getByRole("link", { name: /Where is the raw data/ });
  for (let tabs = 0; tabs < 40 && !(await target.evaluate((node) => node === document.activeElement)); tabs += 1)
    await ada.keyboard.press("Tab");
  await ada.keyboard.press("Enter");
  await ada.getByRole("heading", { name: "Where is the raw data?" }).waitFor();
  const field = ada.getByLabel("Write a comment");
  await field.waitFor();
  for (let tabs = 0; tabs < 60 && !(await field.evaluate((node) => node === document.activeElement)); tabs += 1)
    await ada.keyboard.press("Tab");
  await ada.keyboard.type("Typed without a mouse.");
  await ada.keyboard.press("Control+Enter");
  await comment(ada, "Typed without a mouse.").waitFor();
});

describe("accessibility", () => {
  const cases = [
    { name: "light", colorScheme: "light", viewport: { width: 1280, height: 800 } },
    { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 800 } },
    { name: "phone", colorScheme: "light", viewport: { width: 390, height: 844 } },
  ] as const;
  test.each(cases)("axe finds no violation: $name", async ({ name: _, ...options }) => {
    const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    const one = await enter(options);
    for (const view of [
      `user=${ADA}&discussion=1`,
      `user=${ADA}`,
      `user=${ADA}&discussion=new`,
      `user=${MARIE}&community=${REPLICATION_LAB}&discussion=3`,
    ]) {
      const page = await open(one, view);
      await page.getByText("Try memberships").click();
      await page.getByText("Loading…").waitFor({ state: "detached" });
      await page.evaluate(axe);
      const violations = await page.evaluate(async () => {
        const run = (
          window as never as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
        ).axe;
        return (await run.run()).violations.map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => node.html) }));
      });
      expect(violations, view).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), view).toBe(true);
      await page.close();
    }
  });
});

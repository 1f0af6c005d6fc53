import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { violations } from "../support/axe.js";
import { ADA, comment, focused, GRACE, open, People, Writer } from "../support/pages.js";
import { Server, until } from "../support/server.js";

let server: Server;
let grace: Writer;
const people = new People();

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20" });
  grace = await Writer.as(server, GRACE);
});
afterEach(() => people.leave());
afterAll(() => server?.close());

const card = (page: Page, id: number) => page.locator(`.card[data-id="${id}"]`);
const dots = (page: Page) => page.locator(".comments .unread-dot");

/** Waits until the page shows so many unread comments of a discussion in its card. */
const counted = (page: Page, id: number, count: number) =>
  count > 0
    ? card(page, id).getByText(`${count} unread`, { exact: true }).waitFor()
    : card(page, id).locator(".unread-dot").waitFor({ state: "detached" });

/** Waits until the title begins with so many discussions. What the database had at first is read. */
const titled = (page: Page, count: number) =>
  until(
    `the title counts ${count}`,
    async () => /^\((\d+)\)/.exec(await page.title())?.[1] === (count ? String(count) : undefined),
  );

/** Shows the end of the thread, above the place to write. */
const toEnd = (page: Page) => page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));

/** Records from now on how many dots the thread shows, and what its card says. The returned function tells what it was, in order. */
async function record(page: Page, id: number): Promise<() => Promise<string[]>> {
  await page.evaluate((of) => {
    const seen: string[] = ((window as never as { seen: string[] }).seen = []);
    const note = () => {
      const dots = document.querySelectorAll(".comments .unread-dot").length;
      const count = document.querySelector(`.card[data-id="${of}"] .unread-count`)?.textContent ?? "0";
      const now = `${dots} dots, ${Number.parseInt(count)} unread`;
      if (now !== seen.at(-1)) seen.push(now);
    };
    note();
    new MutationObserver(note).observe(document.body, { childList: true, subtree: true, characterData: true });
  }, id);
  return () => page.evaluate(() => (window as never as { seen: string[] }).seen);
}

/** Marks as read what there is, so that a test begins with nothing unread. */
async function readAll(page: Page): Promise<void> {
  const button = page.getByRole("button", { name: "Mark all as read" });
  await page.locator(".card").first().waitFor();
  if ((await button.count()) > 0) await button.click();
  await titled(page, 0);
}

test("grace writes, ada reads in one tab, and the dot goes in both; marked as unread it is back in both", async () => {
  const ada = await people.enter();
  const list = await open(ada, server, `user=${ADA}`);
  await readAll(list);
  const { id } = await grace.thread("Power of the study", 2);
  await counted(list, id, 2);
  await titled(list, 1);
  expect(await card(list, id).locator(".unread-dot").textContent()).toBe("Unread ");

  // What is below the place to write is not in view. What is in view for a second is read.
  const thread = await open(ada, server, `user=${ADA}&discussion=${id}`);
  await thread.getByText("New since your last visit").waitFor();
  await titled(thread, 1);
  expect(await dots(thread).count()).toBe(2);
  const shown = await record(thread, id);
  await toEnd(thread);
  await dots(thread).first().waitFor({ state: "detached" });
  await counted(thread, id, 0);
  await counted(list, id, 0);
  for (const page of [list, thread]) await titled(page, 0);
  // The mark, its answer and its event make one change, and dots and counts go together.
  const seen = await shown();
  const states = ["2 dots, 2 unread", "1 dots, 1 unread", "0 dots, 0 unread"];
  expect(seen).toEqual(states.filter((state) => seen.includes(state)));
  // The line stays where it was.
  expect(await comment(thread, "Remark 1").locator("..").locator(".since").count()).toBe(1);

  await comment(thread, "Remark 2")
    .getByRole("button", { name: /^Mark as unread/ })
    .click();
  await counted(list, id, 1);
  expect((await shown()).slice(seen.length)).toEqual(["1 dots, 1 unread"]);
  expect(await comment(thread, "Remark 2").locator(".unread-dot").count()).toBe(1);
  expect(await comment(thread, "Remark 1").locator(".unread-dot").count()).toBe(0);
  await titled(list, 1);
  await thread.reload();
  await comment(thread, "Remark 2").locator(".unread-dot").waitFor();
  await toEnd(thread);
  await counted(thread, id, 0);
  await counted(list, id, 0);

  // What ada writes herself is not unread, and what arrives while she reads is read.
  const arrived = await grace.comment(id, "Later.");
  await thread.locator(`#comment-${arrived} .unread-dot`).waitFor();
  await toEnd(thread);
  await thread.locator(`#comment-${arrived} .unread-dot`).waitFor({ state: "detached" });
  await titled(list, 0);
});

test("the button leads to the first unread comment, also where it is not loaded", async () => {
  const ada = await people.enter();
  const list = await open(ada, server, `user=${ADA}`);
  await readAll(list);
  const { id, comments } = await grace.thread("Long and old", 130);
  const me = await Writer.as(server, ADA);
  await me.send("POST", `/discussions/${id}/read`, { discussion: true, up_to_comment_id: comments[119] });
  await counted(list, id, 10);
  const page = await open(ada, server, `user=${ADA}&discussion=${id}`);
  await page.getByRole("button", { name: "10 unread: go to the first unread comment" }).click();
  await page.locator(`#comment-${comments[120]} .since`).waitFor();
  await until("the reader is there", async () => (await focused(page)) === "Comment by grace");
  await page.locator(`#comment-${comments[120]} .unread-dot`).waitFor({ state: "detached" });
  // Those below the window stay unread.
  expect(await page.locator(`#comment-${comments[129]} .unread-dot`).count()).toBe(1);
});

test("everything of the article is marked as read at once, with the keyboard", async () => {
  const page = await open(await people.enter(), server, `user=${ADA}`);
  const { id } = await grace.thread("To be marked", 1);
  await counted(page, id, 1);
  const button = page.getByRole("button", { name: "Mark all as read" });
  await button.focus();
  await page.keyboard.press("Enter");
  await button.waitFor({ state: "detached" });
  expect(await focused(page)).toBe("Discussions");
  await counted(page, id, 0);
  await titled(page, 0);
  await page.reload();
  await titled(page, 0);
  expect(await page.locator(".unread-dot").count()).toBe(0);
});

test("nothing moves when a dot goes, and axe finds nothing", async () => {
  for (const options of [
    { colorScheme: "light" as const, viewport: { width: 1280, height: 800 } },
    { colorScheme: "dark" as const, viewport: { width: 1280, height: 800 } },
    { colorScheme: "light" as const, viewport: { width: 390, height: 844 } },
  ]) {
    const { id } = await grace.thread("Dots and lines", 2);
    const one = await people.enter(options);
    await one.context.clock.install();
    const page = await open(one, server, `user=${ADA}&discussion=${id}`);
    await page.getByRole("button", { name: "2 unread: go to the first unread comment" }).waitFor();
    const places = () =>
      page.evaluate(() => {
        const all = [
          ...document.querySelectorAll(".thread article, .thread header, .card, .count, .overview .primary"),
        ];
        return all.map((element) => {
          const { left, top, width, height } = element.getBoundingClientRect();
          return [left, top + window.scrollY, width, height].map(Math.round);
        });
      });
    await comment(page, "Remark 2").waitFor();
    await toEnd(page);
    const before = await places();
    expect(await violations(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
    await page.clock.runFor(3_000);
    await dots(page).first().waitFor({ state: "detached" });
    expect(await places()).toEqual(before);
    await people.leave();
  }
});

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ADA, comment, field, focused, GRACE, live, open, People, top, write, Writer } from "../support/pages.js";
import { Server, until } from "../support/server.js";

const phone = { viewport: { width: 390, height: 844 } };

let server: Server;
let grace: Writer;
/** A discussion of three pages. */
let long: { id: number; comments: number[] };
const people = new People();

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20" });
  grace = await Writer.as(server, GRACE);
  long = await grace.thread("A thread of three pages", 230);
});
afterEach(() => people.leave());
afterAll(() => server.close());

const at = (index: number) => `#comment-${long.comments[index - 1]}`;
/** Whether the element is on the screen, below the bar and above the place to write. */
const isSeen = (page: Page, selector: string) =>
  page.evaluate((of) => {
    const { top = -1, bottom = 1e9 } = document.querySelector(`${of} > article`)?.getBoundingClientRect() ?? {};
    const bar = document.querySelector(".bars")?.getBoundingClientRect().bottom ?? 0;
    const dock = document.querySelector(".dock")?.getBoundingClientRect().top ?? window.innerHeight;
    return top >= Math.max(0, bar) && bottom <= dock;
  }, selector);

/** Whether the element is where it was, but for the rounding of a pixel. */
async function holdsStill(page: Page, selector: string, before: number): Promise<void> {
  expect(Math.abs((await top(page, selector)) - before)).toBeLessThanOrEqual(1);
}

test("six arrivals move neither the writer's box nor what is read", async () => {
  const thread = await grace.thread("Where six arrive", 30);
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${thread.id}`);
  await comment(ada, "Remark 30").scrollIntoViewIfNeeded();
  await field(ada).fill("I am writing this while");
  const read = `#comment-${thread.comments[27]}`;
  const [box, place] = [await top(ada, "#write"), await top(ada, read)];
  for (let count = 1; count <= 6; count += 1)
    await grace.comment(thread.id, `Arrival ${count}`, count % 2 ? undefined : thread.comments[2]);
  await comment(ada, "Arrival 6").waitFor();
  await holdsStill(ada, "#write", box);
  await holdsStill(ada, read, place);
  expect(await ada.evaluate(() => document.activeElement?.id)).toBe("write");
});

test("arrivals that come with one answer, above and below what is read, do not move it", async () => {
  const thread = await grace.thread("Where several arrive at once", 30);
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${thread.id}`);
  await comment(ada, "Remark 30").scrollIntoViewIfNeeded();
  const read = `#comment-${thread.comments[27]}`;
  const before = await top(ada, read);
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  let held = false;
  await ada.route("**/poll?*", async (route) => {
    held = true;
    await released;
    await route.continue();
  });
  // The poll that is under way brings it, and the next one is held.
  await grace.comment(thread.id, "The first one");
  await until("the next poll is held", () => held);
  for (const parent of [undefined, thread.comments[2], undefined, thread.comments[2]])
    await grace.comment(thread.id, parent ? "A reply above" : "A comment below", parent);
  await grace.comment(thread.id, "The last one");
  release();
  await comment(ada, "The last one").waitFor();
  await holdsStill(ada, read, before);
});

test("arrivals do not move the box in a short thread, nor an open reply", async () => {
  const thread = await grace.thread("Where a reply is written", 2);
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${thread.id}`);
  await field(ada).fill("Half a sentence");
  const box = await top(ada, "#write");
  for (let count = 1; count <= 6; count += 1) await grace.comment(thread.id, `Short ${count}`);
  await comment(ada, "Short 6").waitFor();
  await holdsStill(ada, "#write", box);

  await comment(ada, "Remark 2").getByRole("button", { name: "Reply to grace" }).click();
  await ada.getByRole("textbox", { name: "Reply to grace" }).fill("A reply that holds still");
  const reply = ".comment form textarea";
  const place = await top(ada, reply);
  for (let count = 1; count <= 6; count += 1) await grace.comment(thread.id, `Above ${count}`, thread.comments[0]);
  await comment(ada, "Above 6").waitFor();
  await holdsStill(ada, reply, place);
});

test("writing does not scroll what is read", async () => {
  const thread = await grace.thread("Read while writing", 30);
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${thread.id}`);
  await comment(ada, "Remark 15").scrollIntoViewIfNeeded();
  const read = `#comment-${thread.comments[13]}`;
  const before = await top(ada, read);
  await field(ada).click();
  for (const line of ["Several", "lines", "of text"]) {
    await ada.keyboard.type(line);
    await ada.keyboard.press("Enter");
  }
  await holdsStill(ada, read, before);
});

test("a browser that does not hold what is read gets help", async () => {
  const thread = await grace.thread("Read in another browser", 30);
  const one = await people.enter();
  await one.context.addInitScript(() => {
    CSS.supports = () => false;
    addEventListener("DOMContentLoaded", () => (document.body.style.overflowAnchor = "none"));
  });
  const ada = await open(one, server, `user=${ADA}&discussion=${thread.id}`);
  await comment(ada, "Remark 20").scrollIntoViewIfNeeded();
  const read = `#comment-${thread.comments[19]}`;
  const before = await top(ada, read);
  for (let count = 1; count <= 3; count += 1) await grace.comment(thread.id, `Reply ${count}`, thread.comments[2]);
  await comment(ada, "Reply 3").waitFor();
  await holdsStill(ada, read, before);

  // What grows above in the same frame in which the reader scrolls does not move it either.
  const place = await top(ada, read);
  await ada.evaluate((above) => {
    window.scrollBy({ top: 10, behavior: "instant" });
    const grown = document.createElement("p");
    grown.style.height = "100px";
    document.querySelector(above)?.append(grown);
  }, `#comment-${thread.comments[2]} > article`);
  await holdsStill(ada, read, place - 10);
});

test("'n new' leads to the first new comment, which is on a page that is not loaded yet", async () => {
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${long.id}`);
  await comment(ada, "Remark 100").waitFor();
  const id = await grace.comment(long.id, "The first of two that are new.");
  await grace.comment(long.id, "The second of two that are new.");
  await ada.getByRole("button", { name: "2 new" }).click();
  await until("it is on the screen", () => isSeen(ada, `#comment-${id}`));
  expect(await focused(ada)).toBe("Comment by grace");
  expect(await ada.getByRole("button", { name: "2 new" }).count()).toBe(0);
});

test("one's own new comment stands after those that are not loaded, and is on the screen", async () => {
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${long.id}`);
  await comment(ada, "Remark 100").waitFor();
  await write(ada, "Mine, at the end.");
  await comment(ada, "Mine, at the end.").getByRole("button", { name: "Delete" }).waitFor();
  const order = () =>
    ada.evaluate(() =>
      [...document.querySelectorAll(".comments > .more, .group > .comment")]
        .slice(-2)
        .map((item) => item.querySelector("button.quiet, .prose")?.textContent),
    );
  expect(await order()).toEqual(["Show more comments", "Mine, at the end."]);
  const id = await comment(ada, "Mine, at the end.").locator("..").getAttribute("id");
  await until("it is on the screen", () => isSeen(ada, `#${id}`));
  expect(await ada.evaluate(() => document.activeElement?.id)).toBe("write");
});

test("a link to a comment leads to it on whichever page it is, and each comment has one", async () => {
  const one = await people.enter();
  const ada = await open(one, server, `user=${ADA}&discussion=${long.id}${at(215)}`);
  await until("it is on the screen", () => isSeen(ada, at(215)));
  expect(await focused(ada)).toBe("Comment by grace");
  // The thread is loaded around it, and leads on to the beginning while the reader sees the same.
  const earlier = ada.getByRole("button", { name: "Show earlier comments" });
  await earlier.scrollIntoViewIfNeeded();
  const before = await top(ada, at(167));
  await earlier.click();
  await comment(ada, "Remark 100").waitFor({ state: "attached" });
  await holdsStill(ada, at(167), before);
  const link = comment(ada, "Remark 213").locator(".byline a");
  await link.click();
  await until("the other one is on the screen", () => isSeen(ada, at(213)));
  expect(new URL(ada.url()).hash).toBe(at(213));
  const missing = await open(one, server, `user=${ADA}&discussion=1#comment-999999`);
  await missing.getByText("The comment of this link is not in this discussion.").first().waitFor();
});

test("a discussion's card is a link: Ctrl and a click open it in a tab", async () => {
  const one = await people.enter();
  const ada = await open(one, server, `user=${ADA}`);
  const card = ada.getByRole("link", { name: /Where is the raw data/ });
  const opened = one.context.waitForEvent("page");
  await card.click({ modifiers: ["Control"] });
  const tab = await opened;
  await tab.getByRole("heading", { name: "Where is the raw data?" }).waitFor();
  expect(await ada.locator(".thread").count()).toBe(0);
});

test("title and address say where one is", async () => {
  const ada = await open(await people.enter(), server, "");
  // The number of unread discussions before it would change.
  await ada.getByRole("button", { name: "Mark all as read" }).click();
  const article = "Small samples, large claims: effect sizes in 400 preregistered studies · SciCommons";
  await until("the address names user and article", () => ada.url().endsWith("/?user=1&article=1"));
  await until("the title names the article", async () => (await ada.title()) === article);
  await ada.getByRole("link", { name: /Where is the raw data/ }).click();
  await until("the title has the topic", async () => (await ada.title()) === `Where is the raw data? · ${article}`);
  expect(ada.url()).toContain("discussion=2");
  await ada.getByRole("link", { name: "New", exact: true }).click();
  await until("the title says what is new", async () => (await ada.title()) === `New discussion · ${article}`);
  // The address of a discussion of another article.
  await ada.goto(`${server.url}/?user=${ADA}&discussion=4`);
  await ada.getByRole("heading", { level: 1, name: "A reproducible pipeline" }).waitFor();
  expect(new URL(ada.url()).searchParams.get("article")).toBe("2");
});

test("Back and a reload return to the place where one was", async () => {
  const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${long.id}`);
  await comment(ada, "Remark 60").scrollIntoViewIfNeeded();
  const place = await top(ada, at(60));
  // Playwright would scroll before a click.
  await ada.getByRole("link", { name: /Where is the raw data/ }).evaluate((card: HTMLElement) => card.click());
  await ada.getByRole("heading", { name: "Where is the raw data?" }).waitFor();
  expect(await ada.evaluate(() => window.scrollY)).toBeLessThan(300);
  await ada.goBack();
  await comment(ada, "Remark 60").waitFor();
  await until("it is where it was", async () => Math.abs((await top(ada, at(60))) - place) < 3);
  await ada.reload();
  await live(ada);
  await until("it is there after a reload", async () => Math.abs((await top(ada, at(60))) - place) < 3);

  await ada.goto(`${server.url}/?user=${ADA}&discussion=${long.id}${at(180)}`);
  await until("it is on the screen", () => isSeen(ada, at(180)));
  const far = await top(ada, at(180));
  await ada.reload();
  await until("it is there, on the second page", async () => Math.abs((await top(ada, at(180))) - far) < 3);
});

test("on a phone Back returns to the card, and a heading is not hidden under the bar on a desk", async () => {
  const ada = await open(await people.enter(phone), server, `user=${ADA}`);
  const card = ada.getByRole("link", { name: /Is n = 12 enough/ });
  await card.scrollIntoViewIfNeeded();
  await card.click();
  await ada.getByRole("link", { name: "All discussions" }).click();
  expect(await card.evaluate((node) => node === document.activeElement)).toBe(true);

  const desk = await open(await people.enter(), server, `user=${ADA}&discussion=${long.id}`);
  await comment(desk, "Remark 90").scrollIntoViewIfNeeded();
  await desk.getByRole("link", { name: /Is n = 12 enough/ }).click();
  await desk.getByRole("heading", { name: /Is n = 12 enough/ }).waitFor();
  const bar = await desk.evaluate(() => document.querySelector(".bars")?.getBoundingClientRect().bottom ?? 0);
  expect(await top(desk, "#thread-topic")).toBeGreaterThanOrEqual(bar);
});

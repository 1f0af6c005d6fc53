import type { CDPSession, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADA, GRACE, open, People, Writer } from "../support/pages.js";
import { Server } from "../support/server.js";

const COMMENTS = 1_000;
const ARRIVALS = 15;
/** The most that an arrival may take of the page's main thread: one frame. */
const BUDGET_MS = 16;
/** The most that scripts may take when a comment arrives in another discussion, whose count changes in the list. */
const ELSEWHERE_SCRIPT_MS = 2;
/** What `ruler` takes on the machine that these limits are for. A slower machine has more time in proportion. */
const RULER_MS = 40;

let server: Server;
let grace: Writer;
let page: Page;
let devtools: CDPSession;
let thread: number;
let other: number;
const people = new People();

beforeAll(async () => {
  server = await Server.create();
  grace = await Writer.as(server, GRACE);
  [{ id: other }, { id: thread }] = await Promise.all([grace.thread("Elsewhere", 1), grace.thread("Long", COMMENTS)]);
  page = await open(await people.enter(), server, `user=${ADA}&discussion=${thread}`);
  const more = page.getByRole("button", { name: "Show more comments" });
  for (let loaded = 100; loaded < COMMENTS; loaded += 100) {
    await more.click();
    await page
      .locator(".comment")
      .nth(loaded + 99)
      .waitFor({ state: "attached" });
  }
  devtools = await page.context().newCDPSession(page);
  // Other programs on the machine do not count.
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
});
afterAll(async () => {
  await people.leave();
  await server?.close();
});

/** The time that the page's main thread has spent so far, on everything or on scripts, in milliseconds. */
async function spent(on: "TaskDuration" | "ScriptDuration"): Promise<number> {
  const { metrics } = await devtools.send("Performance.getMetrics");
  return 1_000 * (metrics.find(({ name }) => name === on)?.value ?? Number.NaN);
}

/** Waits until the element is there, has this text, and is painted. Looking costs the page nearly nothing. */
const painted = (selector: string, text: string) =>
  page.evaluate(
    ([selector, text]) =>
      new Promise<void>((done) => {
        const look = () => {
          if (!document.querySelector(selector)?.textContent.includes(text)) return;
          observer.disconnect();
          requestAnimationFrame(() => setTimeout(done));
        };
        const observer = new MutationObserver(look);
        observer.observe(document.body, { childList: true, characterData: true, subtree: true });
        look();
      }),
    [selector, text] as const,
  );

/** What an arrival costs the main thread, in milliseconds: the least of some, because other programs slow the others down. */
async function cost(on: "TaskDuration" | "ScriptDuration", arrive: (count: number) => Promise<void>): Promise<number> {
  const costs: number[] = [];
  for (let count = 1; count <= ARRIVALS; count += 1) {
    const before = await spent(on);
    await arrive(count);
    costs.push((await spent(on)) - before);
  }
  return Math.min(...costs);
}

/** Builds and lays out elements: a measure of how fast the machine is now. Returns how many times slower it is than ours. */
async function slowness(): Promise<number> {
  const ms = await cost("TaskDuration", () =>
    page.evaluate(() => {
      const box = document.createElement("div");
      for (let count = 0; count < 3_000; count += 1) box.append(document.createElement("p"), `Some words ${count}`);
      document.body.append(box);
      const height = box.offsetHeight;
      box.remove();
      if (height === 0) throw new Error("nothing was laid out");
    }),
  );
  return Math.max(1, ms / RULER_MS);
}

test("an arrival in a thread of 1,000 comments takes less than a frame of the main thread", async () => {
  const ms = await cost("TaskDuration", async (count) => {
    const id = await grace.comment(thread, `Arrival ${count}.`);
    await painted(`#comment-${id}`, `Arrival ${count}.`);
  });
  expect(ms).toBeLessThan(BUDGET_MS * (await slowness()));
});

test("an arrival in another discussion costs that page nearly nothing", async () => {
  const ms = await cost("ScriptDuration", async (count) => {
    await grace.comment(other, `Elsewhere ${count}`);
    await painted(`.card[data-id="${other}"]`, `${count + 1} comments`);
  });
  expect(ms).toBeLessThan(ELSEWHERE_SCRIPT_MS * (await slowness()));
});

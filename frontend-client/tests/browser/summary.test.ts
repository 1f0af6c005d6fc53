import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { violations } from "../support/axe.js";
import { ADA, EMMY, focused, GRACE, open, People, Writer } from "../support/pages.js";
import { Server, until } from "../support/server.js";

const OPEN_METHODS = 1;
const BLIND_REVIEW = 3;
const SUMMARY = `/articles/1/summary?community_id=${OPEN_METHODS}`;
let server: Server;
let ada: Writer;
const people = new People();

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20" });
  ada = await Writer.as(server, ADA);
});
afterEach(async () => {
  await people.leave();
  await ada.send("DELETE", SUMMARY);
});
afterAll(() => server?.close());

const box = (page: Page) => page.getByRole("region", { name: "Summary", exact: true });
const field = (page: Page) => page.getByLabel("Text of the summary", { exact: true });
const here = (user: number) => `user=${user}&community=${OPEN_METHODS}`;
const said = (page: Page, words: string) =>
  until(`it is said: ${words}`, async () => (await page.getByRole("status").textContent())?.includes(words) ?? false);
const enter = async (query: string) => open(await people.enter(), server, query);

test("ada writes a summary by keyboard, changes and deletes it, and it is live in another window, without a fault of axe", async () => {
  const page = await enter(here(ADA));
  const other = await enter(here(GRACE));
  const [reader] = [await enter(here(EMMY))];
  const begin = page.getByRole("button", { name: "Write a summary" });
  await begin.focus();
  await page.keyboard.press("Enter");
  await until("the field has the focus", () => field(page).evaluate((one) => one === document.activeElement));
  await page.keyboard.type("The sample is **small**, with $n = 12$.");
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Control+Enter");
  for (const one of [page, other, reader]) {
    await box(one).locator(".prose strong", { hasText: "small" }).waitFor();
    await box(one).locator(".katex").waitFor();
    await box(one).getByText("ada", { exact: true }).waitFor();
    expect(await violations(one)).toEqual([]);
  }
  await until("the focus is on the box", async () => (await focused(page)) === "Summary");
  await said(other, "The summary of Open methods was changed");
  expect(await box(reader).getByRole("button").count()).toBe(0);

  await box(page).getByRole("button", { name: "Edit the summary of Open methods" }).click();
  await field(page).fill("The sample is **large**.");
  await page.keyboard.press("Control+Enter");
  for (const one of [page, other]) await box(one).locator(".prose strong", { hasText: "large" }).waitFor();

  const erase = box(page).getByRole("button", { name: "Delete the summary of Open methods" });
  await erase.focus();
  await page.keyboard.press("Enter");
  await box(page).getByRole("button", { name: "Undo the deletion of the summary" }).click();
  await box(page).locator(".prose strong", { hasText: "large" }).waitFor();
  await erase.click();
  await said(page, "Summary deleted");
  await box(other).waitFor({ state: "detached", timeout: 20_000 });
  await page.getByRole("button", { name: "Write a summary" }).waitFor();
});

test("a draft is kept when the summary changes or goes meanwhile, and over a reload; the page says so", async () => {
  await ada.send("PUT", SUMMARY, { text: "First" });
  const page = await enter(here(ADA));
  await box(page).getByRole("button", { name: "Edit the summary of Open methods" }).click();
  await field(page).fill("First, and mine");
  await ada.send("PUT", SUMMARY, { text: "Second" });
  await box(page).getByText("The summary was changed while you were writing.").waitFor();
  await box(page).getByText("Second", { exact: true }).waitFor();
  expect(await field(page).inputValue()).toBe("First, and mine");

  await box(page).getByRole("button", { name: "Save", exact: true }).click();
  await box(page).getByText("This was changed while you were writing.").waitFor();
  expect(await violations(page)).toEqual([]);
  expect(await ada.send("GET", SUMMARY)).toMatchObject({ text: "Second" });
  await page.reload();
  await box(page).getByRole("button", { name: "Edit the summary of Open methods" }).click();
  expect(await field(page).inputValue()).toBe("First, and mine");
  await box(page).getByRole("button", { name: "Save", exact: true }).click();
  await box(page).getByRole("button", { name: "Save mine instead" }).click();
  await box(page).locator(".prose", { hasText: "First, and mine" }).waitFor();
  expect(await ada.send("GET", SUMMARY)).toMatchObject({ text: "First, and mine" });

  await box(page).getByRole("button", { name: "Edit the summary of Open methods" }).click();
  await field(page).fill("Fourth");
  await ada.send("DELETE", SUMMARY);
  await box(page).getByText("The summary was deleted while you were writing.").waitFor();
  expect(await field(page).inputValue()).toBe("Fourth");
  await box(page).getByRole("button", { name: "Save", exact: true }).click();
  await box(page).locator(".prose", { hasText: "Fourth" }).waitFor();
});

test("all communities have theirs, with the name; who is no admin any more keeps what they wrote", async () => {
  await ada.send("PUT", SUMMARY, { text: "What we know" });
  const emmy = await Writer.as(server, EMMY);
  const masked = `/articles/1/summary?community_id=${BLIND_REVIEW}`;
  await emmy.send("PUT", masked, { text: "What we guess" });
  const page = await enter(`user=${ADA}`);
  const named = (name: string) => page.getByRole("region", { name: `Summary of ${name}`, exact: true });
  await named("Open methods").getByText("What we know").waitFor();
  await named("Blind review").getByText("What we guess").waitFor();
  expect(await named("Blind review").getByText("emmy").count()).toBe(0);
  expect(await named("Blind review").getByRole("button").count()).toBe(0);
  expect(await violations(page)).toEqual([]);

  await named("Open methods").getByRole("button", { name: "Edit the summary of Open methods" }).click();
  await field(page).fill("In other words");
  const set = (role: string) =>
    fetch(`${server.url}/demo/membership`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ user_id: ADA, community_id: OPEN_METHODS, role }),
    });
  await set("member");
  const lost = page.getByLabel("What you were writing");
  await lost.waitFor();
  expect(await lost.inputValue()).toBe("In other words");
  await set("admin");
  await until("the field is back", async () => (await field(page).inputValue()) === "In other words");
  await emmy.send("DELETE", masked);
});

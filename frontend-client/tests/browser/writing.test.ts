import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { person, type Person } from "../support/browser.js";
import { Server, until } from "../support/server.js";

const ADA = 1;
const GRACE = 2;
const ALAN = 4;

let server: Server;
const people: Person[] = [];

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20" });
});
afterEach(async () => {
  await Promise.all(people.splice(0).map((one) => one.close()));
});
afterAll(() => server.close());

async function enter(): Promise<Person> {
  const one = await person();
  people.push(one);
  return one;
}

async function open(one: Person, query: string): Promise<Page> {
  const page = await one.context.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(`${server.url}/?${query}`);
  await page.locator('[data-state="live"]').waitFor();
  return page;
}

const field = (page: Page) => page.getByLabel("Write a comment");
const send = (page: Page) => page.getByRole("button", { name: "Comment", exact: true }).click();
const shown = (page: Page, text: string) =>
  page.locator(".comment article", { has: page.getByText(text, { exact: true }) });

/** The user of a bearer token. */
function userOf(authorization: string | undefined): number | undefined {
  const payload = authorization?.split(".")[1];
  return payload
    ? Number((JSON.parse(Buffer.from(payload, "base64url").toString()) as { user_id: number }).user_id)
    : undefined;
}

test("after choosing another user in the same browser nothing of the previous user is shown", async () => {
  const one = await enter();
  const page = await open(one, `user=${ADA}`);
  const callers: (number | undefined)[] = [];
  page.on("request", (request) => {
    if (/\/(discussions|comments|register|poll)/.test(new URL(request.url()).pathname))
      callers.push(userOf(request.headers()["authorization"]));
  });
  for (const [user, name] of [
    [GRACE, "grace"],
    [ALAN, "alan"],
    [ADA, "ada"],
  ] as const) {
    callers.length = 0;
    await page.getByLabel("You are").selectOption({ value: String(user) });
    await until(
      `${name} is live`,
      async () => callers.length > 1 && (await page.locator('[data-state="live"]').count()) > 0,
    );
    expect(new Set(callers)).toEqual(new Set([user]));
  }
});

test("typed text survives another discussion, a chip, Escape and a reload, until it is sent", async () => {
  const page = await open(await enter(), `user=${ADA}&discussion=1`);
  await field(page).fill("Half a thought that must not be lost.");
  await page.getByRole("link", { name: /Where is the raw data/ }).click();
  await page.getByRole("heading", { name: "Where is the raw data?" }).waitFor();
  expect(await field(page).inputValue()).toBe("");
  await page.goBack();
  await page.locator(".thread h2", { hasNotText: "Where is the raw data?" }).waitFor();
  expect(await field(page).inputValue()).toBe("Half a thought that must not be lost.");
  await page.getByRole("link", { name: "All", exact: true }).click();
  await page.waitForURL((url) => !url.searchParams.has("discussion"));
  await page.goBack();
  await page.waitForURL((url) => url.searchParams.has("discussion"));
  await page.reload();
  await field(page).waitFor();
  expect(await field(page).inputValue()).toBe("Half a thought that must not be lost.");
  await send(page);
  await shown(page, "Half a thought that must not be lost.").waitFor();
  expect(await field(page).inputValue()).toBe("");
  await page.reload();
  await field(page).waitFor();
  expect(await field(page).inputValue()).toBe("");
});

test("a comment that is sent while the server is away survives a reload and is sent by itself, once", async () => {
  const ada = await open(await enter(), `user=${ADA}&discussion=1`);
  await ada.route("**/discussions/*/comments", (route) =>
    route.request().method() === "POST" ? route.abort() : route.continue(),
  );
  await field(ada).fill("Written in a tunnel.");
  await send(ada);
  await shown(ada, "Written in a tunnel.").getByText("Not sent yet").waitFor();
  ada.on("dialog", (dialog) => void dialog.accept());
  await ada.reload();
  await shown(ada, "Written in a tunnel.").waitFor();
  const grace = await open(await enter(), `user=${GRACE}&discussion=1`);
  await ada.unroute("**/discussions/*/comments");
  await shown(grace, "Written in a tunnel.").waitFor();
  await shown(ada, "Written in a tunnel.").getByRole("button", { name: "Delete" }).waitFor();
  expect(await shown(grace, "Written in a tunnel.").count()).toBe(1);
  expect(await shown(ada, "Written in a tunnel.").count()).toBe(1);
});

test("the page says before sending that a text is too long, and a deletion can be undone", async () => {
  const page = await open(await enter(), `user=${ADA}&discussion=1`);
  await field(page).fill("😀".repeat(50_001));
  await page.getByText("1 characters too many").waitFor();
  expect(await page.getByRole("button", { name: "Comment", exact: true }).isDisabled()).toBe(true);
  await field(page).fill("To be kept after all.");
  await send(page);
  const mine = shown(page, "To be kept after all.");
  await mine.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Undo" }).click();
  await mine.waitFor();
});

test("formulas use the page's own fonts, a preview shows them, and text is shown as typed", async () => {
  const page = await open(await enter(), `user=${ADA}&discussion=2`);
  const elsewhere: string[] = [];
  const fonts: string[] = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(server.url) && !request.url().startsWith("data:")) elsewhere.push(request.url());
    if (request.resourceType() === "font") fonts.push(request.url());
  });
  await field(page).fill("We keep a pair if x<y and z>w at 20~25°C, with $\\beta_{0}^{*}$ and H~2~O.");
  await page.getByRole("button", { name: "Preview" }).click();
  await page.locator(".preview .katex").waitFor();
  await send(page);
  const written = page.locator(".comment article", { has: page.getByText("We keep a pair if x<y and z>w at 20~25°C") });
  await written.locator(".katex").waitFor();
  expect(await written.locator("sub", { hasText: /^2$/ }).count()).toBe(1);
  await until("a font is loaded", () => fonts.length > 0);
  expect(elsewhere).toEqual([]);
});

test("the focus returns to the comment after Escape, Save, Reply, Delete and Undo", async () => {
  const page = await open(await enter(), `user=${ADA}&discussion=1`);
  await field(page).fill("Where the focus goes.");
  await send(page);
  const mine = shown(page, "Where the focus goes.");
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
  await mine.getByRole("button", { name: "Edit the comment by ada" }).click();
  await page.getByRole("textbox", { name: "Edit your comment" }).press("Escape");
  expect(await focused()).toBe("Comment by ada");
  await mine.getByRole("button", { name: "Edit the comment by ada" }).click();
  await page.getByRole("textbox", { name: "Edit your comment" }).fill("Where the focus went.");
  await page.keyboard.press("Control+Enter");
  const edited = shown(page, "Where the focus went.");
  await edited.getByRole("button", { name: "Edit the comment by ada" }).waitFor();
  await until("it is at the comment", async () => (await focused()) === "Comment by ada");
  await edited.getByRole("button", { name: "Reply to ada" }).click();
  await page.getByRole("textbox", { name: "Reply to ada" }).fill("A reply.");
  await page.keyboard.press("Control+Enter");
  await shown(page, "A reply.").waitFor();
  expect(await focused()).toBe("Comment by ada");
  await shown(page, "A reply.").getByRole("button", { name: "Delete the comment by ada" }).first().click();
  await until("it is at the tombstone", async () => (await focused()) !== null && (await focused()) !== undefined);
  await page.getByRole("button", { name: "Undo" }).click();
  await shown(page, "A reply.").waitFor();
  expect(await focused()).not.toBeUndefined();
});

test("two who edit one text are told, see both texts, and lose neither", async () => {
  const here = await open(await enter(), `user=${ADA}&discussion=1`);
  await field(here).fill("Edited in two places.");
  await send(here);
  const there = await open(await enter(), `user=${ADA}&discussion=1`);
  const edit = async (page: Page, before: string, text: string) => {
    await shown(page, before).getByRole("button", { name: "Edit the comment by ada" }).click();
    await page.getByRole("textbox", { name: "Edit your comment" }).fill(text);
  };
  const editor = (page: Page) => page.locator(".comment form.composer");
  await edit(here, "Edited in two places.", "Edited here.");
  await edit(there, "Edited in two places.", "Edited there.");
  await editor(there).getByRole("button", { name: "Save" }).click();
  await shown(there, "Edited there.").waitFor();
  await editor(here).getByRole("button", { name: "Save" }).click();
  await editor(here).getByText("This was changed while you were writing.").waitFor();
  expect(await here.getByLabel("The text as it is now").inputValue()).toBe("Edited there.");
  expect(await here.getByRole("textbox", { name: "Edit your comment" }).inputValue()).toBe("Edited here.");
  // Nothing is saved before the choice.
  expect(await shown(there, "Edited there.").count()).toBe(1);
  await here.getByRole("textbox", { name: "Edit your comment" }).fill("Edited here, then there.");
  await here.getByRole("button", { name: "Save mine instead" }).click();
  await shown(here, "Edited here, then there.").waitFor();
  await shown(there, "Edited here, then there.").getByText("· edited").waitFor();

  // The other choice.
  await edit(here, "Edited here, then there.", "Here once more.");
  await edit(there, "Edited here, then there.", "There once more.");
  await editor(there).getByRole("button", { name: "Save" }).click();
  await shown(there, "There once more.").waitFor();
  await editor(here).getByRole("button", { name: "Save" }).click();
  await here.getByRole("button", { name: "Discard mine" }).click();
  await shown(here, "There once more.").waitFor();
  await here.reload();
  await shown(here, "There once more.").waitFor();
});

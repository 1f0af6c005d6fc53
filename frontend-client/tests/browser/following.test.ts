import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { violations } from "../support/axe.js";
import { ADA, comment, EMMY, field, focused, GRACE, MARIE, open, People, Writer } from "../support/pages.js";
import { Server, until } from "../support/server.js";

const OPEN_METHODS = 1;
let server: Server;
let ada: Writer;
let grace: Writer;
const people = new People();

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20" });
  ada = await Writer.as(server, ADA);
  grace = await Writer.as(server, GRACE);
});
afterEach(() => people.leave());
afterAll(() => server?.close());

const inbox = (page: Page) => page.getByRole("button", { name: /^Inbox/ });
/** Waits until the bar shows so many unread notifications. */
const counted = (page: Page, count: number) =>
  page.getByRole("button", { name: count > 0 ? `Inbox ${count} unread` : "Inbox", exact: true }).waitFor();
const item = (page: Page, text: string) =>
  page.locator(".notification", { has: page.getByText(text, { exact: true }) });
const options = (page: Page) => page.locator(".mention-list [role=option]");

/** Reads the user's whole inbox, so that a test begins with nothing unread. */
async function readAll(user: Writer): Promise<void> {
  const { notifications } = await user.send<{ notifications: { id: number }[] }>("GET", "/notifications?limit=1");
  if (notifications[0]) await user.send("POST", "/notifications/read", { up_to_id: notifications[0].id });
}

test("what grace says of a discussion and an article shows in both her tabs, and survives a reload", async () => {
  const { id } = await ada.thread("To be followed", 1);
  const me = await people.enter();
  const one = await open(me, server, `user=${GRACE}&discussion=${id}`);
  const two = await open(me, server, `user=${GRACE}&community=${OPEN_METHODS}`);
  const discussion = one.getByLabel("What you want to hear of the discussion");
  expect(await discussion.inputValue()).toBe("default");
  await discussion.selectOption("mute");
  await two.locator(`.card[data-id="${id}"]`).getByText("muted", { exact: true }).waitFor();
  await discussion.selectOption("follow");
  await two.locator(`.card[data-id="${id}"]`).getByText("muted", { exact: true }).waitFor({ state: "detached" });
  const article = two.getByLabel("What you want to hear of this article");
  await article.focus();
  await article.selectOption("mute");
  await until(
    "it is said",
    async () => (await two.getByRole("status").textContent())?.startsWith("You have muted") ?? false,
  );
  await one.reload();
  await discussion.waitFor();
  expect(await discussion.inputValue()).toBe("follow");
  await discussion.selectOption("default");
  // The article is muted, and so is what is on it.
  await one.getByRole("option", { name: "Not following" }).first().waitFor({ state: "attached" });
  await grace.send("PUT", "/articles/1/follow", { community_id: OPEN_METHODS, level: "default" });
  await until("the other tab hears of it", async () => (await article.inputValue()) === "default");
});

test("ada mentions grace by keyboard, and grace finds it in her inbox, in both tabs", async () => {
  await readAll(grace);
  const { id } = await ada.thread("Mentions", 2);
  const hers = await people.enter();
  const list = await open(hers, server, `user=${GRACE}`);
  const other = await open(hers, server, `user=${GRACE}`);
  await counted(list, 0);

  const page = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
  await field(page).click();
  await page.keyboard.type("Could you look, @gr");
  await options(page).first().waitFor();
  expect(await options(page).allTextContents()).toEqual([expect.stringContaining("grace")]);
  await page.keyboard.press("Enter");
  expect(await field(page).inputValue()).toBe("Could you look, @grace ");
  // Undo takes the completion back, as everything that is typed.
  await page.keyboard.press("Control+z");
  expect(await field(page).inputValue()).not.toBe("Could you look, @grace ");
  await field(page).fill("Could you look, @grace?");
  await page.keyboard.press("Control+Enter");
  await comment(page, "Could you look, @grace?").locator("span.mention").waitFor();

  for (const tab of [list, other]) await counted(tab, 1);
  await inbox(list).focus();
  await list.keyboard.press("Enter");
  const mention = item(list, "Could you look, @grace?");
  await mention.waitFor();
  expect(await mention.locator("a").textContent()).toContain("ada mentioned you");
  expect(await mention.locator(".where").textContent()).toBe("Mentions");
  await mention.locator("a").focus();
  await list.keyboard.press("Enter");
  await comment(list, "Could you look, @grace?").locator("mark.mention").waitFor();
  await until("the focus is on it", async () => (await focused(list)) === "Comment by ada");
  for (const tab of [list, other]) await counted(tab, 0);
  // It is withdrawn with its text.
  await inbox(other).click();
  await item(other, "Could you look, @grace?").waitFor();
  await comment(page, "Could you look, @grace?").getByRole("button", { name: "Delete the comment by ada" }).click();
  await item(other, "Could you look, @grace?").waitFor({ state: "detached", timeout: 20_000 });
});

test("replies and comments come one by one; one or all are marked as read, also for a reload", async () => {
  await readAll(grace);
  const { id } = await grace.thread("Hers", 0);
  const mine = await grace.comment(id, "A remark.");
  const me = await people.enter();
  const page = await open(me, server, `user=${GRACE}`);
  const first = await ada.comment(id, "To the discussion.");
  await ada.comment(id, "To the remark.", mine);
  await counted(page, 2);
  await inbox(page).click();
  await item(page, "To the remark.").waitFor();
  expect(await page.locator(".notification a").first().textContent()).toContain("ada replied to your comment");
  await item(page, "To the discussion.")
    .getByRole("button", { name: /^Mark as read/ })
    .click();
  await counted(page, 1);
  await until("the focus stays in the inbox", async () => (await focused(page)) === "Inbox");
  await page.locator("dialog.inbox").getByRole("button", { name: "Mark all as read" }).click();
  await counted(page, 0);
  await page.reload();
  await page.locator(".card").first().waitFor();
  await counted(page, 0);
  // Nobody hears of what they have muted, nor of their own doing.
  await grace.send("PUT", `/discussions/${id}/follow`, { level: "mute" });
  await grace.comment(id, "Her own.");
  await ada.comment(id, "Not heard.");
  await grace.send("PUT", `/discussions/${id}/follow`, { level: "default" });
  await ada.comment(id, "Heard.", first);
  await counted(page, 1);
});

test("completion works in every form, and Escape closes the list before the form", async () => {
  const { id } = await grace.thread("Forms", 1);
  const page = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
  await page.getByRole("button", { name: "Reply to grace" }).click();
  await page.keyboard.type("@em");
  await options(page).first().waitFor();
  await page.keyboard.press("Escape");
  await options(page).first().waitFor({ state: "detached" });
  expect(await page.getByLabel("Reply to grace").last().inputValue()).toBe("@em");
  await page.keyboard.press("Escape");
  await page.getByLabel("Reply to grace", { exact: true }).nth(1).waitFor({ state: "detached" });

  await field(page).fill("Mine.");
  await page.keyboard.press("Control+Enter");
  await comment(page, "Mine.").getByRole("button", { name: /^Edit/ }).click();
  await page.keyboard.press("End");
  await page.keyboard.type(" For @em");
  await options(page).first().waitFor();
  await page.keyboard.press("Tab");
  await page.getByRole("button", { name: "Save" }).click();
  await comment(page, "Mine. For @emmy").locator(".mention").waitFor();

  await page.goto(`${server.url}/?user=${ADA}&article=1&discussion=new&into=1`);
  await page.getByLabel("Text", { exact: true }).click();
  await page.keyboard.type("Dear @al");
  await options(page).first().waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  expect(await page.getByLabel("Text", { exact: true }).inputValue()).toBe("Dear @alan ");
  await page.getByLabel("Text", { exact: true }).fill("");
});

describe("a guest", () => {
  beforeAll(() => server.membership(MARIE, OPEN_METHODS, null));
  afterAll(async () => {
    await server.sql("update communities set kind = 'public' where id = 1");
    await server.membership(MARIE, OPEN_METHODS, "member");
  });

  test("reads a public community live, and sees it go when it turns private, and come back", async () => {
    const { id } = await ada.thread("For everybody", 1);
    const page = await open(await people.enter(), server, `user=${MARIE}&discussion=${id}`);
    await page.getByText("You are reading as a guest, live.").waitFor();
    await ada.comment(id, "Live for guests.");
    await comment(page, "Live for guests.").waitFor();
    expect(await page.getByText("Members of Open methods can write here.").count()).toBe(1);
    expect(await violations(page)).toEqual([]);
    await server.sql("update communities set kind = 'private' where id = 1");
    await page.getByText("Open methods is no longer public.").first().waitFor();
    expect(await page.getByText("Live for guests.").count()).toBe(0);
    expect(await page.locator(".card").count()).toBe(0);
    await server.sql("update communities set kind = 'public' where id = 1");
    await page.reload();
    await comment(page, "Live for guests.").waitFor();
  });
});

test.each([
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 800 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 800 } },
  { name: "phone", colorScheme: "light", viewport: { width: 390, height: 844 } },
] as const)("axe finds nothing, nothing is too wide, and the focus returns: $name", async ({ name: _, ...how }) => {
  const emmy = await Writer.as(server, EMMY);
  const { id } = await grace.thread("A topic as long as topics of real reviews are, with a second half", 1);
  await emmy.comment(
    id,
    "@grace and @ada, have you seen the supplement? It says the opposite of what is in the abstract, twice.",
  );
  const page = await open(await people.enter(how), server, `user=${GRACE}&discussion=${id}`);
  const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
  await page.locator("mark.mention").waitFor();
  await inbox(page).click();
  await page.locator(".notification").first().waitFor();
  expect(await violations(page)).toEqual([]);
  expect(await fits()).toBe(true);
  await page.keyboard.press("Escape");
  await until("the focus is back", async () => (await focused(page)).startsWith("Inbox"));
  await field(page).click();
  await page.keyboard.type("@");
  await options(page).nth(2).waitFor();
  const list = await page.locator(".mention-list").boundingBox();
  expect(list && list.x >= 0 && list.y >= 0).toBe(true);
  expect(await violations(page)).toEqual([]);
  expect(await fits()).toBe(true);
});

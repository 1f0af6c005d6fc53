import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { violations } from "../support/axe.js";
import { ADA, comment, EMMY, field, focused, GRACE, open, People, write, Writer } from "../support/pages.js";
import { Server, until } from "../support/server.js";

let server: Server;
let grace: Writer;
const people = new People();

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "20" });
  grace = await Writer.as(server, GRACE);
});
afterEach(() => people.leave());
afterAll(() => server.close());

/** What people write: everything that the renderer makes something of. */
const texts = [
  "## Two things\n\nThe first is in section 3, the second in **table 2**:\n\n- [ ] recompute the power\n- [x] ask for the data",
  "```r\npower.t.test(n = 12, delta = 1.2, sd = 1, sig.level = 0.05, type = 'two.sample', alternative = 'two.sided')\n```\n\nIt says `0.80`.",
  "| group | n | mean | sd | median | range | missing | excluded | note on how it was measured |\n|---|---:|---:|---|---|---|---|---|---|\n| control | 12 | 0.31 | 0.12 | 0.30 | 0.1 to 0.6 | 0 | 2 | by hand |",
  "With $\\beta_{0}^{*}$ and\n\n$$\\hat{d} = \\frac{\\bar{x}_1 - \\bar{x}_2}{s}$$\n\nwe keep a pair if x<y and z>w.",
  "As in [the protocol](https://example.org/protocol) and 10.1000/xyz123, see also the note.[^1]\n\n[^1]: It was changed in May.",
  "> The effect is large.\n\nIs it?\n\n1. Compare H~2~O at 20~25°C\n2. and 10^-3^ mol\n\n![The figure](https://example.org/f.png)",
  "النتيجة غير واضحة في الجدول الثاني.",
];

/** A discussion with real text, with replies, an edited, a deleted and a resolved thing. */
async function fullThread(): Promise<number> {
  const { id, comments } = await grace.thread("What a long review looks like: figures, tables and code", 3);
  const emmy = await Writer.as(server, EMMY);
  for (const [index, text] of texts.entries()) await emmy.comment(id, text, comments[index % 2]);
  const reply = await grace.comment(id, texts[0] ?? "", comments[2]);
  await emmy.comment(id, texts[1] ?? "", reply);
  await grace.send("PATCH", `/comments/${reply}`, { text: texts[1] });
  await grace.send("DELETE", `/comments/${comments[1]}`);
  await grace.send("PATCH", `/discussions/${id}`, { is_resolved: true });
  return id;
}

const fits = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);

describe("a page full of real text", () => {
  let id: number;
  beforeAll(async () => {
    id = await fullThread();
  });

  const desk = { width: 1280, height: 800 };
  test.each([
    { name: "light", colorScheme: "light", viewport: desk },
    { name: "dark", colorScheme: "dark", viewport: desk },
    { name: "phone", colorScheme: "light", viewport: { width: 390, height: 844 } },
    { name: "twice as large", colorScheme: "light", viewport: { width: 640, height: 400 } },
  ] as const)(
    "axe finds no violation, and nothing is wider than the window: $name",
    async ({ name: _, ...options }) => {
      const ada = await open(await people.enter(options), server, `user=${ADA}&discussion=${id}`);
      await ada.locator(".comment .katex").first().waitFor();
      await ada.getByRole("button", { name: "Reply to emmy" }).first().click();
      await field(ada).fill(texts[0] ?? "");
      await ada.locator(".dock").getByRole("button", { name: "Preview" }).click();
      expect(await violations(ada)).toEqual([]);
      expect(await fits(ada)).toBe(true);
    },
  );

  test("task lists and code have names, and the keyboard reaches code and tables", async () => {
    const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
    await ada.getByRole("checkbox", { name: "recompute the power" }).first().waitFor();
    await ada.getByRole("figure", { name: "Code, r" }).first().waitFor();
    for (const part of ["figure.code pre", "[role=group][aria-label=Table]"]) {
      await ada.locator(part).first().focus();
      expect(
        await ada
          .locator(part)
          .first()
          .evaluate((node) => node === document.activeElement),
        part,
      ).toBe(true);
    }
  });

  test("every button and field has a name of its own, or names what it acts on", async () => {
    const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
    await ada.locator(".comment").first().waitFor();
    const names = await ada.evaluate(() =>
      [...document.querySelectorAll("main button:not(figure *)")].map(
        (button) => button.getAttribute("aria-label") ?? button.textContent ?? "",
      ),
    );
    expect(names.length).toBeGreaterThan(15);
    for (const name of names.filter((one) => /^(Delete|Edit|Reply|Undo|Reopen)/.test(one)))
      expect(name).toMatch(/ (the comment by|the discussion|to) ?\w*/);
  });

  test("comments have headings, which nest as they do", async () => {
    const ada = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
    await ada.getByRole("heading", { level: 4, name: "Comment by grace" }).first().waitFor();
    await ada.getByRole("heading", { level: 5, name: "Reply by emmy" }).first().waitFor();
    await ada.getByRole("heading", { level: 6, name: "Reply by emmy" }).first().waitFor();
    await ada.getByRole("heading", { level: 4, name: "Deleted comment" }).waitFor();
  });
});

test("the focus returns to the discussion after Escape, Save, Delete and Undo", async () => {
  const page = await open(await people.enter(), server, `user=${ADA}`);
  await page.getByRole("link", { name: "New", exact: true }).click();
  await page.getByLabel("Topic").press("Escape");
  await until("it is at New", async () => (await focused(page)) === "New");
  await page.getByRole("link", { name: "New", exact: true }).click();
  await page.getByLabel("Topic").fill("Where the focus stays");
  await page.getByLabel("Text").fill("Here.");
  await page.getByRole("button", { name: "Start discussion" }).click();
  const edit = page.getByRole("button", { name: "Edit the discussion" });
  const atTopic = (topic: string) => until(`it is at "${topic}"`, async () => (await focused(page)) === topic);
  await edit.click();
  await page.getByLabel("Topic").press("Escape");
  await atTopic("Where the focus stays");
  await edit.click();
  await page.getByLabel("Topic").fill("Where the focus stayed");
  await page.keyboard.press("Control+Enter");
  await atTopic("Where the focus stayed");
  await page.getByRole("button", { name: "Delete the discussion" }).click();
  await atTopic("Where the focus stayed");
  await page.getByRole("button", { name: "Undo the deletion of the discussion" }).click();
  await atTopic("Where the focus stayed");
});

test("what happened is announced once, in one live region", async () => {
  const page = await open(await people.enter(), server, `user=${ADA}&discussion=1`);
  const regions = page.locator("[role=status], [role=alert], [aria-live]");
  expect(await regions.count()).toBe(1);
  await page.evaluate(() => {
    const said = ((window as never as { said: string[] }).said = []) as string[];
    const region = document.querySelector("[role=status]") as HTMLElement;
    new MutationObserver(() => said.push(region.textContent?.trim() ?? "")).observe(region, {
      childList: true,
      subtree: true,
      characterData: true,
    });
  });
  const said = () => page.evaluate(() => (window as never as { said: string[] }).said);
  const heard = (words: string) => until(words, async () => (await said()).includes(words));
  await grace.comment(1, "To be announced.");
  await heard("1 new comment, by grace");
  await write(page, "Announced as well.");
  await heard("Comment sent");
  const own = comment(page, "Announced as well.");
  await own.getByRole("button", { name: "Delete the comment by ada" }).click();
  await heard("Comment deleted. It can be undone for some seconds.");
  await page.getByRole("button", { name: "Undo the deletion of the comment" }).click();
  await heard("The comment is back");
  await own.getByRole("button", { name: "Edit the comment by ada" }).click();
  await page.getByRole("textbox", { name: "Edit your comment" }).fill("Announced again.");
  await page.getByRole("button", { name: "Save" }).click();
  await heard("Saved");
  await grace.send("POST", "/articles/1/discussions", { community_id: 1, topic: "Elsewhere", text: "A new one." });
  await heard("New discussion: Elsewhere");
  const all = await said();
  expect(all).toEqual([...new Set(all)]);
  await page.getByRole("link", { name: /Where is the raw data/ }).click();
  await page.getByRole("heading", { name: "Where is the raw data?" }).waitFor();
  expect(await regions.count()).toBe(1);
});

test("j, k and r move and reply, ? explains them, and they can be switched off", async () => {
  const { id } = await grace.thread("Read with two keys", 3);
  const page = await open(await people.enter(), server, `user=${ADA}&discussion=${id}`);
  const place = () =>
    page.evaluate(() => document.activeElement?.closest(".comment")?.querySelector(".prose")?.textContent?.trim());
  await comment(page, "Remark 3").waitFor();
  await page.keyboard.press("j");
  expect(await place()).toBe("Remark 1");
  await page.keyboard.press("j");
  expect(await place()).toBe("Remark 2");
  await page.keyboard.press("k");
  expect(await place()).toBe("Remark 1");
  await page.keyboard.press("r");
  const reply = page.getByRole("textbox", { name: "Reply to grace" });
  await until("the reply has the focus", () => reply.evaluate((node) => node === document.activeElement));
  // In a field they are letters.
  await page.keyboard.type("jkr?");
  expect(await reply.inputValue()).toBe("jkr?");
  await page.keyboard.press("Escape");
  expect(await place()).toBe("Remark 1");
  await page.keyboard.press("?");
  const help = page.getByRole("dialog", { name: "Keyboard shortcuts" });
  await help.waitFor();
  expect(await violations(page)).toEqual([]);
  await help.getByRole("checkbox", { name: "Use these shortcuts" }).uncheck();
  await page.keyboard.press("Escape");
  await help.waitFor({ state: "hidden" });
  await page.keyboard.press("j");
  expect(await place()).toBe("Remark 1");
  await page.reload();
  await comment(page, "Remark 3").waitFor();
  await page.keyboard.press("?");
  await page.getByRole("button", { name: "Shortcuts" }).click();
  expect(await help.getByRole("checkbox").isChecked()).toBe(false);
  await help.getByRole("checkbox").check();
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  expect(await place()).toBe("Remark 1");
});

test("with reduced motion nothing glides or blinks", async () => {
  const page = await open(await people.enter(), server, `user=${ADA}&discussion=1`);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.evaluate(() => {
    const behaviors = ((window as never as { behaviors: unknown[] }).behaviors = []) as unknown[];
    Element.prototype.scrollIntoView = (options) => void behaviors.push((options as ScrollIntoViewOptions).behavior);
  });
  // What comes before the thread is loaded is not new to it.
  await page.locator(".comment article").first().waitFor();
  const id = await grace.comment(1, "It appears without a movement.");
  await page.getByRole("button", { name: "1 new" }).click();
  await until("it has the focus", async () => (await focused(page)) === "Comment by grace");
  expect(await page.evaluate(() => (window as never as { behaviors: unknown[] }).behaviors)).toContain("instant");
  expect(await page.evaluate(() => (window as never as { behaviors: unknown[] }).behaviors)).not.toContain("smooth");
  const animation = `#comment-${id} > article`;
  expect(await page.locator(animation).evaluate((node) => getComputedStyle(node).animationName)).toBe("none");
});

test("with forced colours one sees what is chosen, what is new and what is live", async () => {
  const page = await open(await people.enter(), server, `user=${ADA}&discussion=1`);
  await page.emulateMedia({ forcedColors: "active" });
  const id = await grace.comment(1, "New in any colour.");
  await page.locator(`#comment-${id}`).waitFor();
  const style = (selector: string, property: "backgroundColor" | "borderLeftWidth") =>
    page
      .locator(selector)
      .first()
      .evaluate((node, name) => getComputedStyle(node)[name], property);
  expect(await style(".chip[aria-current]", "backgroundColor")).not.toBe(
    await style(".chip:not([aria-current])", "backgroundColor"),
  );
  expect(await style(".card[aria-current]", "borderLeftWidth")).not.toBe(
    await style(".card:not([aria-current])", "borderLeftWidth"),
  );
  expect(await style(`#comment-${id} > article`, "borderLeftWidth")).toBe("4px");
  expect(await style(".dot", "backgroundColor")).not.toBe(await style("body", "backgroundColor"));
  expect(await violations(page)).toEqual([]);
});

test("at twice the size there is room to read beside the place to write", async () => {
  const page = await open(
    await people.enter({ viewport: { width: 640, height: 400 } }),
    server,
    `user=${ADA}&discussion=1`,
  );
  await field(page).focus();
  const dock = await page.locator(".dock").evaluate((node) => node.getBoundingClientRect().height);
  expect(dock).toBeLessThan(200);
  const last = page.locator(".comment article").last();
  await last.focus();
  expect(await last.evaluate((node) => node.getBoundingClientRect().bottom)).toBeLessThanOrEqual(400 - dock + 1);
  await write(page, "Written at twice the size.");
  await comment(page, "Written at twice the size.").waitFor();
});

test("on a phone the article can be chosen, and the panel fits", async () => {
  const page = await open(await people.enter({ viewport: { width: 390, height: 844 } }), server, `user=${ADA}`);
  await page
    .getByRole("combobox", { name: /^Article/ })
    .selectOption({ label: "A reproducible pipeline for single-cell atlases" });
  await page.getByRole("heading", { level: 1, name: "A reproducible pipeline" }).waitFor();
  await page.getByRole("link", { name: /Which reference build/ }).waitFor();
  await page.getByText("Try memberships").click();
  const panel = await page.locator(".members .panel").evaluate((node) => node.getBoundingClientRect().toJSON());
  expect(panel.left).toBeGreaterThanOrEqual(0);
  expect(panel.right).toBeLessThanOrEqual(390);
  expect(await fits(page)).toBe(true);
});

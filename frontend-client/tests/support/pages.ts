import type { Page } from "playwright-core";
import { person, type Person } from "./browser.js";
import type { Server } from "./server.js";

export const ADA = 1;
export const GRACE = 2;
export const EMMY = 3;
export const ALAN = 4;
export const MARIE = 5;

/** The people of a test file, each with a browser of their own. */
export class People {
  readonly #all: Person[] = [];

  async enter(options?: Parameters<typeof person>[0]): Promise<Person> {
    const one = await person(options);
    this.#all.push(one);
    return one;
  }

  async leave(): Promise<void> {
    await Promise.all(this.#all.splice(0).map((one) => one.close()));
  }
}

export const live = (page: Page) => page.locator('[data-state="live"]').waitFor();

/** Opens the demo at an address such as `user=1&discussion=1#comment-3`, and waits until it is live. */
export async function open(one: Person, server: Server, query: string): Promise<Page> {
  const page = await one.context.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(`${server.url}/?${query}`);
  await live(page);
  return page;
}

/** The comment with exactly this text. */
export const comment = (page: Page, text: string) =>
  page.locator(".comment article", { has: page.getByText(text, { exact: true }) });

export const field = (page: Page) => page.getByLabel("Write a comment");

export async function write(page: Page, text: string): Promise<void> {
  await field(page).fill(text);
  await page.getByRole("button", { name: "Comment", exact: true }).click();
}

/** What has the focus: its name, or its tag. */
export const focused = (page: Page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return element?.getAttribute("aria-label") ?? element?.textContent ?? "";
  });

/** How far the element is from the top of the window, in the next frame. The browser moves what it holds when it makes a frame. */
export const top = (page: Page, selector: string) =>
  page.evaluate(
    (of) =>
      new Promise<number>((found) => {
        const measure = () => found(Math.round(document.querySelector(of)?.getBoundingClientRect().top ?? Number.NaN));
        requestAnimationFrame(() => setTimeout(measure));
      }),
    selector,
  );

/** Writes by the API as one user, as from another device. */
export class Writer {
  private constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  static async as(server: Server, user: number): Promise<Writer> {
    return new Writer(server.url, await server.token(user));
  }

  async send<T = { id: number }>(method: string, path: string, body?: unknown): Promise<T> {
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${this.token}` };
    const response = await fetch(this.url + path, { method, headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  async comment(discussion: number, text: string, parent?: number): Promise<number> {
    const body = { text, ...(parent !== undefined && { parent_id: parent }) };
    return (await this.send("POST", `/discussions/${discussion}/comments`, body)).id;
  }

  /** A discussion with this many comments, whose texts are "Remark 1" and so on. Returns its id and those of the comments. */
  async thread(topic: string, comments: number, community = 1): Promise<{ id: number; comments: number[] }> {
    const body = { community_id: community, topic, text: "A long thread." };
    const { id } = await this.send("POST", "/articles/1/discussions", body);
    const ids: number[] = [];
    for (let count = 1; count <= comments; count += 1) ids.push(await this.comment(id, `Remark ${count}`));
    return { id, comments: ids };
  }
}

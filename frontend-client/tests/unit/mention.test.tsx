// @vitest-environment happy-dom
import { act, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { afterEach, beforeEach, expect, test } from "vitest";
import { handleOf, mentionAt } from "../../src/index.js";
import { RealtimeProvider, useMention } from "../../src/react/index.js";
import { FakeBrowser, settle } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";
import "../support/react.js";

/** The first one is the writer, who is not offered. */
const names = ["writer", "ada", "alan", "emmy", "grace", "Grete-H", "Grün.Specht"];
let server: FakeServer;
let browser: FakeBrowser;
let root: Root;
let page: HTMLElement;
let keys: string[];

function Field() {
  const [text, setText] = useState("");
  const mention = useMention({ communityId: COMMUNITY, articleId: ARTICLE });
  return (
    <>
      <textarea
        {...mention.field}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          mention.field.onKeyDown(event);
          if (!event.defaultPrevented) keys.push(event.key);
        }}
      />
      {mention.isOpen && (
        <ul {...mention.list}>
          {mention.candidates.map(({ handle }, index) => (
            <li key={handle} {...mention.option(index)}>
              {handle}
            </li>
          ))}
        </ul>
      )}
      <p role="status">{mention.status}</p>
    </>
  );
}

beforeEach(async () => {
  server = new FakeServer();
  browser = new FakeBrowser();
  keys = [];
  server.members = names.map((username, at) => ({
    author: { id: at + 1, username, avatar_url: null },
    handle: username,
  }));
  page = document.body.appendChild(document.createElement("div"));
  root = createRoot(page);
  const options = { environment: browser.tab().environment(), storage: null };
  await act(async () =>
    root.render(
      <QueryClientProvider client={new QueryClient()}>
        <RealtimeProvider config={{ fetch: server.fetch, token: "user-1" }} user={1} options={options}>
          <Field />
        </RealtimeProvider>
      </QueryClientProvider>,
    ),
  );
  await act(settle);
});

afterEach(async () => {
  await act(async () => root.unmount());
  await act(settle);
  page.remove();
  expect(browser.timers.waiting.size).toBe(0);
});

const field = () => page.querySelector("textarea") as HTMLTextAreaElement;
const options = () => [...page.querySelectorAll("[role=option]")].map((one) => one.textContent);
const chosen = () => page.querySelector("[role=option][aria-selected=true]");
const pass = (ms: number) => act(() => browser.timers.advance(ms));
const asked = () => server.requests.filter(({ path }) => path.endsWith("/members")).length;

/** Writes at the caret, and waits for as long as somebody does who has written. */
async function type(text: string, ms = 200): Promise<void> {
  await act(async () => {
    const { value, selectionStart: at } = field();
    field().focus();
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")?.set?.call(
      field(),
      value.slice(0, at) + text + value.slice(at),
    );
    field().setSelectionRange(at + text.length, at + text.length);
    field().dispatchEvent(new Event("input", { bubbles: true }));
  });
  await pass(ms);
}

async function press(key: string, more: KeyboardEventInit = {}): Promise<void> {
  await act(async () => {
    field().dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
    await settle();
  });
}

test("after @ it offers people, the keys choose, and Enter or Tab inserts", async () => {
  await type("Dear @");
  expect(options()).toEqual(names.slice(1));
  const list = page.querySelector("[role=listbox]");
  expect(list?.getAttribute("aria-label")).toBe("People to mention");
  expect(field().getAttribute("aria-controls")).toBe(list?.id);
  expect(field().getAttribute("aria-activedescendant")).toBe(chosen()?.id);
  expect(page.querySelector("[role=status]")?.textContent).toMatch(/^6 people to mention/);
  await type("gr");
  expect([options(), asked()]).toEqual([["grace", "Grete-H", "Grün.Specht"], 1]);
  expect(chosen()?.textContent).toBe("grace");
  await press("ArrowDown");
  expect(chosen()?.textContent).toBe("Grete-H");
  await press("ArrowUp");
  await press("ArrowUp");
  expect(chosen()?.textContent).toBe("Grün.Specht");
  await press("ArrowUp");
  await press("Enter");
  expect([field().value, options(), keys]).toEqual(["Dear @Grete-H ", [], []]);
  expect(field().selectionStart).toBe("Dear @Grete-H ".length);
  await type("and @al");
  await press("Tab");
  await press("Enter");
  expect([field().value, keys]).toEqual(["Dear @Grete-H and @alan ", ["Enter"]]);
  expect(field().getAttribute("aria-controls")).toBe(null);
});

test("Escape closes it until another mention is begun, and other keys pass through", async () => {
  await type("@a");
  await press("Escape");
  expect([options(), keys]).toEqual([[], []]);
  await press("Escape");
  await type("d");
  expect([options(), keys]).toEqual([[], ["Escape"]]);
  await type("a, @e");
  expect(options()).toEqual(["emmy"]);
  await press("Enter", { ctrlKey: true });
  await press("Enter", { isComposing: true });
  await press("ArrowLeft");
  await press("Enter", { shiftKey: true });
  expect(keys).toEqual(["Escape", "Enter", "Enter", "ArrowLeft", "Enter"]);
  expect(field().value).toBe("@ada, @e");
});

test("the mouse inserts, and the field keeps the focus", async () => {
  await type("@");
  const down = new MouseEvent("mousedown", { bubbles: true, cancelable: true });
  await act(async () => {
    const second = page.querySelectorAll("[role=option]")[1];
    second?.dispatchEvent(down);
    (second as HTMLElement).click();
  });
  expect([down.defaultPrevented, field().value]).toEqual([true, "@alan "]);
});

test("who writes fast is asked for once, and a late answer to an earlier question shows nothing", async () => {
  // There are more than one answer has.
  server.members = Array.from({ length: 30 }, (_, at) => ({
    author: { id: at + 2, username: `m${at}`, avatar_url: null },
    handle: `m${at}`,
  }));
  await type("@", 50);
  await type("m", 50);
  expect([asked(), options()]).toEqual([0, []]);
  await pass(200);
  expect([asked(), options().length]).toEqual([1, 20]);
  await type("2");
  expect([asked(), options()]).toEqual([2, ["m2", ...Array.from({ length: 10 }, (_, at) => `m${20 + at}`)]]);
  await type("9");
  expect([asked(), options()]).toEqual([2, ["m29"]]);
  await type("x");
  expect([asked(), options()]).toEqual([2, []]);
});

test("where one may not ask, nothing is offered", async () => {
  server.trouble = (path) => (path.endsWith("/members") ? coded(403, "not_a_member") : undefined);
  await type("@a");
  await pass(5_000);
  expect([options(), asked()]).toEqual([[], 1]);
});

test.each([
  ["@", ""],
  ["see @ad", "ad"],
  ["(@Grete-H", "Grete-H"],
  ["first line\n@ém", "ém"],
  ["one@example", undefined],
  ["see @ada ", undefined],
  ["@@a", undefined],
  ["in `code @a", undefined],
  ["after `code` @a", "a"],
  ["a/@b", undefined],
])("what is a mention at the caret: %j", (text, query) => {
  expect(mentionAt(text, text.length)?.query).toBe(query);
  expect(mentionAt(`${text} and more`, text.length)?.start).toBe(
    query === undefined ? undefined : text.lastIndexOf("@"),
  );
});

test("a pseudonym's handle has hyphens for spaces", () => {
  expect(handleOf({ id: null, username: "Gray Heron", avatar_url: null })).toBe("Gray-Heron");
  expect(handleOf({ id: 1, username: "ada", avatar_url: null })).toBe("ada");
});

// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { countCharacters, explain, firstGrapheme, isComposing } from "../../src/index.js";
import { places, useComments, useDraft, useRealtimeStatus } from "../../src/react/index.js";
import { settle } from "../support/fake-environment.js";
import { coded } from "../support/model.js";
import { TestPage } from "../support/react.js";

const ada = { id: 1, username: "ada", avatar_url: null };
let page: TestPage;
let thread: ReturnType<typeof useComments>;
let draft: ReturnType<typeof useDraft>;
let reply: ReturnType<typeof useDraft>;
let status: string;

function Probe() {
  thread = useComments(1);
  draft = useDraft(places.comment(1));
  reply = useDraft(places.reply(1));
  status = useRealtimeStatus().state;
  return null;
}

function openPage(server = page?.server): TestPage {
  const next = new TestPage(server);
  page = next;
  return next;
}

beforeEach(() => {
  localStorage.clear();
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", ada);
  page.server.model.createComment(1, null, "mine", ada);
});

afterEach(async () => {
  await page.close();
  expect(page.browser.timers.waiting.size).toBe(0);
});

const texts = () => thread.comments.map((comment) => comment.text);
const written = () => page.server.model.comments.map((comment) => comment.text);
const posts = () => page.server.requests.filter((one) => one.method === "POST" && one.path.endsWith("/comments"));
const down = (path: string, method: string) =>
  method !== "GET" && /comments/.test(path) ? ("down" as const) : undefined;

test("a draft survives a reload, for its user and its place, until it is discarded", async () => {
  await page.show(<Probe />);
  await act(async () => draft.set("half a tho"));
  await act(async () => draft.set("half a thought"));
  const key = draft.key();
  await page.close();
  await openPage().show(<Probe />);
  expect([draft.text, draft.isKept, draft.key()]).toEqual(["half a thought", true, key]);
  await page.show(<Probe />, 2);
  expect(draft.text).toBe("");
  await page.show(<Probe />, 1);
  expect(draft.text).toBe("half a thought");
  await act(async () => draft.discard());
  await page.close();
  await openPage().show(<Probe />);
  expect([draft.text, draft.isKept]).toEqual(["", false]);
});

test("a draft shows in the other tab, and text that is written while it is sent stays", async () => {
  await page.show(<Probe />);
  await act(async () => draft.set("here"));
  const name = Object.keys(localStorage).find((one) => one.includes("draft")) ?? "";
  const kept = JSON.parse(localStorage.getItem(name) ?? "{}") as { key: string };
  localStorage.setItem(name, JSON.stringify({ ...kept, text: "there" }));
  await act(async () => void window.dispatchEvent(new StorageEvent("storage", { key: name })));
  expect(draft.text).toBe("there");
  await act(async () => draft.set("there, and more"));
  const before = draft.key();
  await act(async () => draft.sent({ text: "there", topic: "" }));
  expect(draft.text).toBe("there, and more");
  expect(draft.key()).not.toBe(before);
  await act(async () => draft.sent({ text: "there, and more", topic: "" }));
  expect(draft.isKept).toBe(false);
});

test("sending one draft three times makes one comment", async () => {
  await page.show(<Probe />);
  let answer = () => {};
  page.server.writesAfter = new Promise((resolve) => (answer = resolve));
  await act(async () => draft.set("once"));
  const key = draft.key() ?? "";
  let sent: Promise<unknown[]> = Promise.resolve([]);
  await act(async () => {
    sent = Promise.all([1, 2, 3].map(() => thread.create({ text: "once" }, { key })));
    await settle();
  });
  expect(texts()).toEqual(["mine", "once"]);
  answer();
  await act(async () => {
    await sent;
    page.server.deliver();
    await settle();
  });
  expect(written()).toEqual(["mine", "once"]);
  expect(posts()).toHaveLength(1);
});

test("an unsent comment survives a reload, and is sent by itself when the page is live again", async () => {
  await page.show(<Probe />);
  page.server.trouble = down;
  await act(async () => {
    thread.create({ text: "from the train" }).catch(() => undefined);
    await settle();
  });
  await act(() => page.browser.timers.advance(60_000));
  expect(thread.comments.at(-1)).toMatchObject({ text: "from the train", pending: true });
  expect(explain(thread.comments.at(-1)?.error)).toBe("The server cannot be reached.");
  const leaving = new Event("beforeunload", { cancelable: true });
  window.dispatchEvent(leaving);
  expect(leaving.defaultPrevented).toBe(true);

  const first = page;
  await openPage(first.server).show(<Probe />);
  expect(thread.comments.at(-1)).toMatchObject({ text: "from the train", pending: true });
  page.server.trouble = undefined;
  await act(() => page.browser.timers.advance(60_000));
  page.server.deliver();
  await page.settle();
  expect(written()).toEqual(["mine", "from the train"]);
  expect(thread.comments.at(-1)).toMatchObject({ text: "from the train", pending: false, error: undefined });
  expect(localStorage.length).toBe(0);
  const quiet = new Event("beforeunload", { cancelable: true });
  await act(() => first.browser.timers.advance(60_000));
  await first.close();
  window.dispatchEvent(quiet);
  expect(quiet.defaultPrevented).toBe(false);
});

test("a wait ends as soon as the page is live", async () => {
  await page.show(<Probe />);
  page.server.trouble = () => "down";
  page.server.releasePolls();
  await act(async () => {
    thread.create({ text: "soon" }).catch(() => undefined);
    await settle();
  });
  await act(() => page.browser.timers.advance(120_000));
  expect(status).toBe("stale");
  page.server.trouble = (path) => (path === "/register" || path === "/poll" ? "down" : undefined);
  const before = posts().length;
  page.server.trouble = undefined;
  await act(() => page.browser.timers.advance(30_000));
  expect(status).toBe("live");
  expect(posts().length).toBeGreaterThan(before);
  expect(written()).toEqual(["mine", "soon"]);
});

test("a refused comment says why, also after a reload, and can be edited", async () => {
  await page.show(<Probe />);
  const fields = { text: "It has 52000 characters; 50000 are allowed." };
  page.server.trouble = (path, method) =>
    method === "POST" && path.endsWith("/comments")
      ? Response.json({ code: "invalid_fields", message: "Fields are invalid", fields }, { status: 422 })
      : undefined;
  await act(async () => {
    await expect(thread.create({ text: "too long" })).rejects.toMatchObject({ code: "invalid_fields" });
    await settle();
  });
  await page.close();
  await openPage().show(<Probe />);
  const failed = thread.comments.at(-1);
  expect(failed).toMatchObject({ text: "too long", pending: false });
  expect(explain(failed?.error)).toBe(fields.text);
  await act(async () => draft.set("meanwhile"));
  await act(async () => thread.edit(failed?.key ?? ""));
  await page.settle();
  expect(texts()).toEqual(["mine"]);
  expect(draft.text).toBe("too long\n\nmeanwhile");
  expect(Object.keys(localStorage).filter((name) => name.includes("outbox"))).toEqual([]);
});

test("a deletion can be undone for some seconds, and is sent after that or when the page is left", async () => {
  await page.show(<Probe />);
  const remove = async () => {
    thread.remove(1, { undoMs: 6_000 }).catch(() => undefined);
    await settle();
  };
  await act(remove);
  await page.settle();
  expect(texts()).toEqual([null]);
  await act(async () => thread.discard(thread.comments[0]?.undo ?? ""));
  await page.settle();
  expect(texts()).toEqual(["mine"]);
  await act(() => page.browser.timers.advance(10_000));
  expect(page.server.count(/comments/, "DELETE")).toBe(0);

  await act(remove);
  await page.settle();
  await act(() => page.browser.timers.advance(6_000));
  expect(page.server.count(/comments/, "DELETE")).toBe(1);

  page.server.model.createComment(1, null, "another", ada);
  page.server.deliver();
  await page.settle();
  await act(async () => void thread.remove(2, { undoMs: 6_000 }).catch(() => undefined));
  await page.settle();
  window.dispatchEvent(new Event("pagehide"));
  await page.settle();
  expect(page.server.count(/comments/, "DELETE")).toBe(2);
});

test("after a 401 a write waits for the user to sign in again, and is not lost", async () => {
  await page.show(<Probe />);
  page.server.trouble = (path, method) =>
    method === "POST" && path.endsWith("/comments") ? coded(401, "token_expired") : undefined;
  await act(async () => {
    thread.create({ text: "written before it expired" }).catch(() => undefined);
    await settle();
  });
  expect(thread.comments.at(-1)).toMatchObject({ pending: true, error: { code: "token_expired" } });
  page.server.trouble = undefined;
  await act(() => page.browser.timers.advance(60_000));
  expect(written()).toEqual(["mine", "written before it expired"]);
});

test("the draft of a reply stays, also after a reload, when the comment above it is deleted, and so does a reply on its way", async () => {
  await page.show(<Probe />);
  await act(async () => reply.set("half a reply"));
  const { server } = page;
  server.trouble = down;
  await act(async () => void thread.create({ text: "on its way", parent_id: 1 }).catch(() => undefined));
  server.model.deleteComment(1);
  server.deliver();
  await page.settle();
  expect(thread.comments[0]).toMatchObject({ id: 1, text: null });
  expect(reply.text).toBe("half a reply");
  await page.close();
  server.trouble = (path, method) =>
    method === "POST" && path.endsWith("/comments") ? coded(409, "comment_deleted") : undefined;
  await openPage().show(<Probe />);
  expect(reply).toMatchObject({ text: "half a reply", isKept: true });
  const refused = thread.comments[0]?.replies[0];
  expect(refused).toMatchObject({ text: "on its way", pending: false, error: { code: "comment_deleted" } });
  await act(async () => thread.edit(refused?.key ?? ""));
  expect(reply.text).toBe("on its way\n\nhalf a reply");
  await act(async () => reply.discard());
  expect(reply.isKept).toBe(false);
});

test("a key belongs to the input method while it composes", () => {
  const key = (init: KeyboardEventInit & { keyCode?: number }) =>
    new KeyboardEvent("keydown", { key: "Enter", ...init });
  expect(isComposing(key({ isComposing: true }))).toBe(true);
  expect(isComposing(key({}))).toBe(false);
  expect(isComposing({ nativeEvent: { isComposing: true } })).toBe(true);
  expect(isComposing({ nativeEvent: { isComposing: false, keyCode: 13 } })).toBe(false);
  // Safari's key that confirms a composition.
  expect(isComposing({ nativeEvent: { isComposing: false, keyCode: 229 } })).toBe(true);
});

test("characters are counted as the server counts them, and an avatar shows a whole character", () => {
  expect(countCharacters("  abc \n")).toBe(3);
  expect(countCharacters("😀é")).toBe(2);
  expect(countCharacters("e\u0301")).toBe(2);
  expect(countCharacters("\u0085a\u0085")).toBe(1);
  // JavaScript's trim removes this character, but the server counts it.
  expect(countCharacters("\uFEFFa")).toBe(2);
  expect(countCharacters("😀".repeat(200))).toBe(200);
  expect(firstGrapheme("🇩🇪 Ada")).toBe("🇩🇪");
  expect(firstGrapheme("e\u0301mile")).toBe("e\u0301");
  expect(firstGrapheme("👩‍🔬x")).toBe("👩‍🔬");
  expect(firstGrapheme("")).toBe("");
});

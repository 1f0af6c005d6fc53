// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { explain } from "../../src/index.js";
import { useComments, useRealtimeStatus } from "../../src/react/index.js";
import { settle } from "../support/fake-environment.js";
import { TestPage } from "../support/react.js";

const ada = { id: 1, username: "ada", avatar_url: null };
const message = (seconds: number) => `you may write 60 times a minute: try again in ${seconds} seconds`;
const limited = (seconds: number) =>
  Response.json(
    { code: "rate_limited", message: message(seconds) },
    { status: 429, headers: { "retry-after": String(seconds) } },
  );

let page: TestPage;
let thread: ReturnType<typeof useComments>;
let status: string;

function Probe() {
  thread = useComments(1);
  status = useRealtimeStatus().state;
  return null;
}

beforeEach(() => {
  localStorage.clear();
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", ada);
  page.server.model.createComment(1, null, "first", ada);
});

afterEach(async () => {
  vi.useRealTimers();
  await page.close();
});

const posts = () => page.server.count(/comments/, "POST");
const lists = () => page.server.count(/comments/, "GET");

test("a comment over the limit says for how long it waits, and is sent by itself after that and not before", async () => {
  await page.show(<Probe />);
  page.server.trouble = (path, method) => (method === "POST" && /comments/.test(path) ? limited(300) : undefined);
  await act(async () => {
    thread.create({ text: "one too many" }).catch(() => undefined);
    await settle();
  });
  expect(thread.comments.at(-1)).toMatchObject({ text: "one too many", pending: true });
  expect(explain(thread.comments.at(-1)?.error)).toBe(message(300));

  // The connection is lost and comes back: what waits for a limit goes on waiting.
  page.server.trouble = () => "down";
  page.server.releasePolls();
  await act(() => page.browser.timers.advance(120_000));
  expect(status).toBe("stale");
  page.server.trouble = undefined;
  await act(() => page.browser.timers.advance(60_000));
  expect(status).toBe("live");
  await act(() => page.browser.timers.advance(119_000));
  expect(posts()).toBe(1);

  await act(() => page.browser.timers.advance(2_000));
  expect(posts()).toBe(2);
  page.server.deliver();
  await page.settle();
  expect(page.server.model.comments.map(({ text }) => text)).toEqual(["first", "one too many"]);
  expect(thread.comments.at(-1)).toMatchObject({ text: "one too many", pending: false, error: undefined });
});

test("a list over the limit is fetched again after the time that the server says", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  page.server.trouble = (path, method) => (method === "GET" && /comments/.test(path) ? limited(7) : undefined);
  await page.show(<Probe />);
  expect(thread.isPending).toBe(true);
  const before = lists();
  await act(() => vi.advanceTimersByTimeAsync(7_000));
  expect(lists()).toBe(before);
  page.server.trouble = undefined;
  await act(() => vi.advanceTimersByTimeAsync(1_000));
  await page.settle();
  expect(lists()).toBe(before + 1);
  expect(thread.comments.map(({ text }) => text)).toEqual(["first"]);
});

test("a list is not fetched again for ever, nor waited for too long", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  let seconds = 7;
  page.server.trouble = (path, method) => (method === "GET" && /comments/.test(path) ? limited(seconds) : undefined);
  await page.show(<Probe />);
  await act(() => vi.advanceTimersByTimeAsync(300_000));
  await page.settle();
  expect(lists()).toBe(5);
  expect(explain(thread.error)).toBe(message(7));

  seconds = 600;
  await act(async () => {
    await thread.refetch();
  });
  expect(lists()).toBe(6);
  expect(explain(thread.error)).toBe(message(600));
});

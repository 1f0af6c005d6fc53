// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { useComments } from "../../src/react/index.js";
import { coded } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;
let thread: ReturnType<typeof useComments>;

function Probe({ id }: { id: number }) {
  thread = useComments(id);
  return null;
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", grace);
  page.server.model.createDiscussion("empty", "text", grace);
  page.server.model.createComment(1, null, "first", grace);
});

afterEach(async () => {
  await page.close();
  vi.useRealTimers();
});

const state = () => ({
  texts: thread.comments.map((comment) => comment.text),
  failed: thread.error !== null,
  isEmpty: thread.isEmpty,
  isPending: thread.isPending,
});
const isThread = (path: string) => path.endsWith("/comments");

test("a thread that could not be loaded is not an empty thread, and can be tried again", async () => {
  page.server.trouble = (path) => (isThread(path) ? coded(400, "invalid_parameter") : undefined);
  await page.show(<Probe id={1} />);
  expect(state()).toEqual({ texts: [], failed: true, isEmpty: false, isPending: false });
  page.server.trouble = undefined;
  await act(async () => void thread.refetch());
  await page.settle();
  expect(state()).toEqual({ texts: ["first"], failed: false, isEmpty: false, isPending: false });
  await page.show(<Probe id={2} />);
  expect(state()).toEqual({ texts: [], failed: false, isEmpty: true, isPending: false });
});

test("a thread that could not be loaded while the server was away is loaded when the page is live again", async () => {
  let down = true;
  page.server.trouble = (path) => {
    if (!down) return undefined;
    return isThread(path) || path === "/register" ? new Response(null, { status: 503 }) : undefined;
  };
  await page.show(<Probe id={1} />);
  for (let tries = 0; tries < 5; tries += 1) {
    await act(() => vi.advanceTimersByTimeAsync(30_000));
    await page.settle();
  }
  expect(state()).toEqual({ texts: [], failed: true, isEmpty: false, isPending: false });
  down = false;
  await act(() => page.browser.timers.advance(60_000));
  await page.settle();
  expect(state()).toEqual({ texts: ["first"], failed: false, isEmpty: false, isPending: false });
});

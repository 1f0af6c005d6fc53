// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { useDiscussions, useNextTry, useRealtimeStatus } from "../../src/react/index.js";
import { ARTICLE, coded } from "../support/model.js";
import { TestPage } from "../support/react.js";

let page: TestPage;
let status: ReturnType<typeof useRealtimeStatus>;
let next: ReturnType<typeof useNextTry>;
let list: ReturnType<typeof useDiscussions>;

function Probe() {
  status = useRealtimeStatus();
  next = useNextTry();
  list = useDiscussions(ARTICLE);
  return null;
}

beforeEach(() => {
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", { id: 2, username: "grace", avatar_url: null });
});

afterEach(async () => {
  await page.close();
  expect(page.browser.timers.waiting.size).toBe(0);
});

const pass = async (seconds: number) => {
  await act(() => page.browser.timers.advance(seconds * 1000));
  await page.settle();
};
const polls = () => page.server.count(/^\/(poll|register)$/);

test("while the server is away the page says in how many seconds the next try comes, and the user can try now", async () => {
  await page.show(<Probe />);
  expect([status.state, next.seconds]).toEqual(["live", undefined]);
  page.server.trouble = () => new Response(null, { status: 503, headers: { "retry-after": "20" } });
  page.server.releasePolls();
  await pass(2);
  expect([status.state, next.seconds]).toEqual(["stale", 20]);
  await pass(3);
  expect(next.seconds).toBe(17);
  const before = polls();
  await act(async () => next.tryNow());
  await page.settle();
  expect(polls()).toBe(before + 1);
  expect(next.seconds).toBe(22);
  await pass(25);
  page.server.trouble = undefined;
  await act(async () => next.tryNow());
  await page.settle();
  expect([status.state, next.seconds]).toEqual(["live", undefined]);
});

test("a refusal that will probably stay also says when the next try comes", async () => {
  page.server.trouble = (path) => (path === "/register" ? coded(403, "no_communities") : undefined);
  await page.show(<Probe />);
  expect(status).toMatchObject({ state: "stale", code: "no_communities" });
  expect(next.seconds).toBe(450);
});

test("signed out is told apart from away, and the user comes back in by trying again", async () => {
  page.server.trouble = () => coded(401, "token_expired");
  await page.show(<Probe />);
  expect([status, next.seconds]).toEqual([{ state: "signed_out", code: "token_expired" }, undefined]);
  expect(list.access).toEqual({ state: "denied", reason: "sign_in" });
  page.server.trouble = undefined;
  await act(async () => next.tryNow());
  await page.settle();
  expect(status.state).toBe("live");
  expect(list.discussions).toHaveLength(1);
});

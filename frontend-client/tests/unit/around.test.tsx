// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isApiError } from "../../src/index.js";
import { useComments, type CommentItem } from "../../src/react/index.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;
let thread: ReturnType<typeof useComments>;

function Probe({ around }: { around: number }) {
  thread = useComments(1, { around, pageSize: 4 });
  return null;
}

beforeEach(() => {
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", grace);
});

afterEach(() => page.close());

async function happen(change: () => unknown) {
  await act(async () => void (await change()));
  page.server.deliver();
  await page.settle();
}

const ids = (comments: CommentItem[]): number[] =>
  comments.flatMap(({ id, is_repeated, replies }) => [is_repeated ? -id : id, ...ids(replies)]);

test("a thread is loaded around a comment, leads both ways, and is live", async () => {
  const { model } = page.server;
  for (let count = 1; count <= 20; count += 1) model.createComment(1, null, `root ${count}`, grace);
  await page.show(<Probe around={10} />);
  expect(ids(thread.comments)).toEqual([9, 10, 11, 12]);
  expect([thread.hasEarlier, thread.hasMore]).toEqual([true, true]);
  const reads = page.server.count(/comments$/, "GET");
  await happen(() => model.updateComment(10, "edited"));
  await happen(() => model.updateComment(3, "edited, on a page that is not loaded"));
  await happen(() => model.createComment(1, 3, "below it", grace));
  await happen(() => model.createComment(1, 10, "a reply", grace));
  expect(thread.comments[1]).toMatchObject({ text: "edited", replies: [{ text: "a reply" }] });
  expect(page.server.count(/comments$/, "GET")).toBe(reads);
  while (thread.hasEarlier) await happen(() => thread.fetchEarlier());
  while (thread.hasMore) await happen(() => thread.fetchMore());
  expect(ids(thread.comments)).toEqual([
    1,
    2,
    3,
    21,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    22,
    ...Array.from({ length: 10 }, (_, at) => 11 + at),
  ]);
  expect(thread.comments[2]).toMatchObject({ text: "edited, on a page that is not loaded" });
});

test("a thread that begins among the replies to a comment says that the comment is not loaded", async () => {
  const { model } = page.server;
  model.createComment(1, null, "root", grace);
  for (let count = 2; count <= 40; count += 1) model.createComment(1, 1, `reply ${count}`, grace);
  await page.show(<Probe around={30} />);
  expect(ids(thread.comments)).toEqual([-1, ...Array.from({ length: 20 }, (_, at) => 21 + at)]);
  expect(thread.comments[0]).toMatchObject({ text: null, is_repeated: true, author: grace });
  await happen(() => model.createComment(1, 1, "late", grace));
  expect(thread.comments[0]?.replies.at(-1)).toMatchObject({ id: 41, text: "late" });
  // The place of a reply to a comment that is not loaded is known to the server alone.
  await happen(() => model.createComment(1, 2, "later, below another one", grace));
  while (thread.hasMore) await happen(() => thread.fetchMore());
  expect(thread.comments[0]?.replies[0]).toMatchObject({ id: 2, is_repeated: true, replies: [{ id: 42 }] });
  while (thread.hasEarlier) await happen(() => thread.fetchEarlier());
  expect(ids(thread.comments)).toEqual([1, 2, 42, ...Array.from({ length: 39 }, (_, at) => 3 + at)]);
  expect(thread.comments[0]).toMatchObject({ text: "root" });
});

test("a comment that is not there is an error of its own, and hides no thread", async () => {
  page.server.model.createComment(1, null, "root", grace);
  await page.show(<Probe around={99} />);
  expect(isApiError(thread.error, "comment_not_found")).toBe(true);
  expect(thread.access).toEqual({ state: "granted" });
});

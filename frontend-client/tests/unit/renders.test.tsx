// @vitest-environment happy-dom
import { memo } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { useComments, useDiscussions, type CommentItem } from "../../src/react/index.js";
import { ARTICLE } from "../support/model.js";
import { TestPage } from "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;
let renders: (number | string)[];
let thread: ReturnType<typeof useComments>;
let list: ReturnType<typeof useDiscussions>;

const Item = memo(function Item({ comment }: { comment: CommentItem }) {
  renders.push(comment.id);
  return comment.replies.map((reply) => <Item key={reply.key} comment={reply} />);
});

const Actions = memo(function Actions({ create }: { create: unknown }) {
  renders.push(typeof create);
  return null;
});

function Probe() {
  thread = useComments(1, { pageSize: 1000 });
  list = useDiscussions(ARTICLE);
  return (
    <>
      {thread.comments.map((comment) => (
        <Item key={comment.key} comment={comment} />
      ))}
      <Actions create={thread.create} />
      <Actions create={list.create} />
    </>
  );
}

beforeEach(() => {
  page = new TestPage();
  renders = [];
  page.server.model.createDiscussion("this", "this", grace);
  page.server.model.createDiscussion("another", "another", grace);
  for (let count = 0; count < 300; count += 1) page.server.model.createComment(1, null, `root ${count}`, grace);
  for (let count = 0; count < 120; count += 1) page.server.model.createComment(1, 1 + count, `reply ${count}`, grace);
});

afterEach(() => page.close());

/** The renders, without the second one of React's strict mode. */
async function rendered(change: () => unknown) {
  renders = [];
  change();
  page.server.deliver();
  await page.settle();
  return [...new Set(renders)];
}

test("a new comment among hundreds renders only what it changes, and nothing in another discussion", async () => {
  await page.show(<Probe />);
  expect(thread.comments).toHaveLength(300);
  const { model } = page.server;
  const first = thread.comments[0];
  expect(await rendered(() => model.createComment(1, null, "new", grace))).toEqual([421]);
  expect(await rendered(() => model.createComment(1, 200, "a reply", grace))).toEqual([200, 422]);
  expect(await rendered(() => model.updateComment(300, "edited"))).toEqual([300]);
  expect(await rendered(() => model.createComment(2, null, "elsewhere", grace))).toEqual([]);
  expect(thread.comments[0]).toBe(first);
  expect(await rendered(() => page.queryClient.invalidateQueries())).toEqual([]);
});

test("a mark among hundreds of comments renders only those that it changes", async () => {
  await page.show(<Probe />);
  const { model } = page.server;
  expect(await rendered(() => model.markRead(1, { comment_ids: [150, 299] }))).toEqual([150, 299]);
  expect(await rendered(() => void thread.markUnread(200))).toEqual([299]);
  expect(await rendered(() => model.markRead(2, { discussion: true }))).toEqual([]);
});

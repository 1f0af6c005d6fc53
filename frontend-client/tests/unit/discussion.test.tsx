// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { useDiscussion, useDiscussions } from "../../src/react/index.js";
import { ARTICLE } from "../support/model.js";
import { TestPage } from "../support/react.js";

const ada = { id: 1, username: "ada", avatar_url: null };
let page: TestPage;
let list: ReturnType<typeof useDiscussions>;
let open: ReturnType<typeof useDiscussion>;
const shown: unknown[] = [];

function Probe({ id }: { id: number }) {
  list = useDiscussions(ARTICLE);
  open = useDiscussion(id, { enabled: !list.isPending });
  if (open.discussion) shown.push(open.viewer?.user_id);
  return null;
}

beforeEach(() => {
  page = new TestPage();
  shown.length = 0;
  for (let count = 1; count <= 25; count += 1) page.server.model.createDiscussion(`topic ${count}`, "text", ada);
});

afterEach(() => page.close());

test("a discussion that is not among the newest stays live: resolve, edit, count, rename and delete show", async () => {
  await page.show(<Probe id={2} />);
  const { model } = page.server;
  const happen = async (change: () => unknown) => {
    change();
    page.server.deliver();
    await page.settle();
  };
  expect(list.discussions.some(({ id }) => id === 2)).toBe(false);
  expect(open.discussion).toMatchObject({ topic: "topic 2", mine: true });
  await happen(() => model.updateDiscussion(2, { is_resolved: true, topic: "better" }));
  expect(open.discussion).toMatchObject({ topic: "better", is_resolved: true });
  await happen(() => model.createComment(2, null, "a comment", ada));
  expect(open.discussion?.comment_count).toBe(1);
  await happen(() => model.createDiscussion("another", "text", ada));
  expect(open.discussion?.id).toBe(2);
  await happen(() => model.changeAuthor({ ...ada, username: "ada lovelace" }));
  expect(open.discussion?.author?.username).toBe("ada lovelace");
  await act(async () => open.update({ topic: "mine" }));
  expect(open.discussion?.topic).toBe("mine");
  await happen(() => model.deleteDiscussion(2));
  expect(open.discussion).toMatchObject({ topic: null, author: null });
  expect(page.server.count(/^\/discussions\/2$/, "GET")).toBe(1);
});

test("a discussion of the list is not fetched again, and another user's is never shown", async () => {
  await page.show(<Probe id={20} />);
  expect(open.discussion?.topic).toBe("topic 20");
  expect(page.server.count(/^\/discussions\/20/, "GET")).toBe(0);
  let current = "user-1";
  const token = ({ refresh }: { refresh: boolean }) => (refresh ? (current = "user-2") : current);
  shown.length = 0;
  await page.show(<Probe id={2} />, 2, { token });
  expect(open.discussion?.topic).toBe("topic 2");
  expect(new Set(shown)).toEqual(new Set([2]));
});

// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { places, useComments, useDiscussions, useDraft } from "../../src/react/index.js";
import type { ViewerInfo } from "../../src/index.js";
import type { CommentItem } from "../../src/react/index.js";
import { ARTICLE, coded, COMMUNITY, JOINED } from "../support/model.js";
import { TestPage } from "../support/react.js";

const ada = { id: 1, username: "ada", avatar_url: null };
const grace = { id: 2, username: "grace", avatar_url: null };
const heron = { id: null, username: "Quiet Heron", avatar_url: null };
let page: TestPage;
let list: ReturnType<typeof useDiscussions>;
let all: ReturnType<typeof useDiscussions>;
let thread: ReturnType<typeof useComments>;
let draft: ReturnType<typeof useDraft>;
/** What was on screen in any frame: the newest discussion's author, and the last comment's. */
let frames: unknown[];

function Probe() {
  list = useDiscussions(ARTICLE, { communityId: COMMUNITY });
  all = useDiscussions(ARTICLE);
  thread = useComments(1, { pageSize: 2 });
  draft = useDraft(places.editComment(1));
  frames.push([all.discussions[0]?.author?.username, thread.comments.at(-1)?.author?.username]);
  return null;
}

beforeEach(() => {
  localStorage.clear();
  frames = [];
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", grace);
});

afterEach(() => page.close());

async function happen(change: () => unknown) {
  await act(async () => void (await change()));
  page.server.deliver();
  await page.settle();
}

const shape = (comments: CommentItem[]): unknown[] =>
  comments.map(({ text, replies }) => (replies.length > 0 ? [text, shape(replies)] : text));

test("own comments whose page is not loaded stay live: edits, replies, deletions, until the page is loaded", async () => {
  const { model } = page.server;
  for (let count = 1; count <= 5; count += 1) model.createComment(1, null, `root ${count}`, grace);
  await page.show(<Probe />);
  await happen(() => thread.create({ text: "mine" }));
  const key = thread.comments.at(-1)?.key;
  expect(shape(thread.comments)).toEqual(["root 1", "root 2", "mine"]);
  expect(thread.comments.at(-1)).toMatchObject({ id: 6, pending: false, mine: true });
  await happen(() => model.updateComment(6, "mine, in another tab"));
  await happen(() => model.createComment(1, 6, "a reply", grace));
  await happen(() => thread.create({ text: "my reply", parent_id: 6 }));
  await happen(() => model.createComment(1, 8, "to my reply", grace));
  const grown = ["mine, in another tab", ["a reply", ["my reply", ["to my reply"]]]];
  expect(shape(thread.comments)).toEqual(["root 1", "root 2", grown]);
  await happen(() => thread.update(6, "mine, here"));
  await happen(() => model.deleteComment(8));
  const changed = ["mine, here", ["a reply", [null, ["to my reply"]]]];
  expect(shape(thread.comments)).toEqual(["root 1", "root 2", changed]);
  await happen(() => thread.remove(7).catch(() => undefined));
  expect(thread.comments.at(-1)?.replies[0]?.text).toBe(null);
  while (thread.hasMore) await happen(() => thread.fetchMore());
  expect(shape(thread.comments).slice(0, 5)).toEqual([1, 2, 3, 4, 5].map((id) => `root ${id}`));
  expect(thread.comments.map((comment) => comment.id)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(thread.comments.at(-1)).toMatchObject({ key, text: "mine, here" });
});

test("an own comment whose page is not loaded gets the events that are faster than the answer", async () => {
  const { model } = page.server;
  for (let count = 1; count <= 3; count += 1) model.createComment(1, null, `root ${count}`, grace);
  await page.show(<Probe />);
  let answer = () => {};
  page.server.writesAfter = new Promise((resolve) => (answer = resolve));
  await act(async () => void thread.create({ text: "mine" }));
  await happen(() => model.createComment(1, 4, "a fast reply", grace));
  await happen(() => answer());
  expect(shape(thread.comments)).toEqual(["root 1", "root 2", ["mine", ["a fast reply"]]]);
});

test("own things under a pseudonym are one's own from the first post on, in every list", async () => {
  const { server } = page;
  server.viewer = {
    user_id: 1,
    memberships: [
      { community_id: COMMUNITY, role: "member", pseudonym: null, joined_at: JOINED, follow_level: "default" },
    ],
  };
  server.me = heron;
  await page.show(<Probe />);
  let answer = () => {};
  server.writesAfter = new Promise((resolve) => (answer = resolve));
  await act(async () => void thread.create({ text: "under a new name" }));
  // The event is faster than the answer, which names the pseudonym.
  await happen(() => undefined);
  expect(thread.comments).toHaveLength(1);
  await happen(() => answer());
  expect(thread.comments[0]).toMatchObject({ author: heron, mine: true });
  await happen(() => server.model.createDiscussion("also mine", "text", heron));
  expect([list, all].map(({ discussions }) => discussions[0]?.mine)).toEqual([true, true]);
  // From the second post on the pseudonym is there in the first frame.
  frames = [];
  await happen(() => thread.create({ text: "again" }));
  await happen(() => list.create({ community_id: COMMUNITY, topic: "again", text: "text" }));
  expect(new Set(frames.map((frame) => String(frame)))).toEqual(new Set(["Quiet Heron,Quiet Heron"]));
  expect(all.discussions[0]).toMatchObject({ topic: "again", mine: true });
});

test("a pseudonym is learned from one's own texts alone, and stays", async () => {
  const { server } = page;
  const known = () => list.viewer?.memberships[0]?.pseudonym;
  const viewer = (pseudonym: string | null): ViewerInfo => ({
    user_id: 1,
    memberships: [
      { community_id: COMMUNITY, role: "moderator", pseudonym, joined_at: JOINED, follow_level: "default" },
    ],
  });
  server.viewer = viewer(null);
  server.model.createDiscussion("of another", "text", heron);
  await page.show(<Probe />);
  await happen(() => list.update(2, { is_resolved: true }));
  expect([list.discussions[0]?.is_resolved, list.discussions[0]?.mine, known()]).toEqual([true, false, null]);
  server.viewer = viewer("Gray Heron");
  await happen(() => list.refetch());
  server.me = heron;
  await happen(() => list.create({ community_id: COMMUNITY, topic: "one", text: "text" }));
  expect(known()).toBe("Gray Heron");
});

test("the text of a refused edit returns to its draft", async () => {
  const { server } = page;
  server.model.createComment(1, null, "before", ada);
  await page.show(<Probe />);
  server.trouble = (_, method) => (method === "PATCH" ? coded(422, "invalid_fields") : undefined);
  await act(async () => draft.set("a long thought"));
  await act(async () => {
    thread.update(1, draft.text).catch(() => undefined);
    draft.sent(draft);
  });
  await page.settle();
  expect(thread.comments[0]?.text).toBe("before");
  expect(draft).toMatchObject({ text: "a long thought", isKept: true });
  // Another draft of the same place is not overwritten.
  await act(async () => {
    thread.update(1, draft.text).catch(() => undefined);
    draft.set("a better thought");
  });
  await page.settle();
  expect(draft.text).toBe("a better thought");
});

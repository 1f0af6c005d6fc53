// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ApiError } from "../../src/index.js";
import { places, useComments, useDiscussion, useDraft } from "../../src/react/index.js";
import { settle } from "../support/fake-environment.js";
import { TestPage } from "../support/react.js";

const ada = { id: 1, username: "ada", avatar_url: null };
const grace = { id: 2, username: "grace", avatar_url: null };
let page: TestPage;
let thread: ReturnType<typeof useComments>;
let one: ReturnType<typeof useDiscussion>;
let draft: ReturnType<typeof useDraft>;
let topicDraft: ReturnType<typeof useDraft>;

function Probe() {
  thread = useComments(1);
  one = useDiscussion(1);
  const [comment] = thread.comments;
  draft = useDraft(places.editComment(1), { text: comment?.text ?? "", updated_at: comment?.updated_at ?? "" });
  topicDraft = useDraft(places.editDiscussion(1), {
    topic: one.discussion?.topic ?? "",
    text: one.discussion?.text ?? "",
    updated_at: one.discussion?.updated_at ?? "",
  });
  return null;
}

beforeEach(async () => {
  localStorage.clear();
  page = new TestPage();
  page.server.model.createDiscussion("topic", "text", ada);
  page.server.model.createComment(1, null, "mine", ada);
  await page.show(<Probe />);
});

afterEach(async () => {
  await page.close();
  expect(page.browser.timers.waiting.size).toBe(0);
});

const written = () => page.server.model.comments[0]?.text;
const patches = () => page.server.requests.filter(({ method }) => method === "PATCH").length;

/** Something changes at the server, and its event arrives. */
async function elsewhere(change: () => void): Promise<void> {
  change();
  page.server.deliver();
  await page.settle();
}

async function save(text: string, from = draft.from): Promise<ApiError | undefined> {
  let refusal: ApiError | undefined;
  await act(async () => {
    await thread.update(1, text, { from }).catch((error: ApiError) => (refusal = error));
    page.server.deliver();
    await settle();
  });
  return refusal;
}

test("an edit of a text that changed meanwhile is refused, with the text as it is now, and no word is lost", async () => {
  await act(async () => draft.set("mine, edited here"));
  const begun = draft.from;
  await elsewhere(() => page.server.model.updateComment(1, "mine, edited there"));
  // The draft is based on what the user began with, not on what the page shows now.
  expect(thread.comments[0]?.text).toBe("mine, edited there");
  expect(draft.from).toEqual(begun);
  const refusal = await save(draft.text);
  expect(refusal).toMatchObject({ status: 412, code: "changed_meanwhile", current: { text: "mine, edited there" } });
  expect(written()).toBe("mine, edited there");
  expect(draft.text).toBe("mine, edited here");
  expect(thread.comments[0]).toMatchObject({ text: "mine, edited there", pending: false, error: undefined });
});

test("after the choice to overwrite, the edit is one of the version that the user has seen, and of no later one", async () => {
  await act(async () => draft.set("mine"));
  await act(async () => draft.set("mine, edited here"));
  await elsewhere(() => page.server.model.updateComment(1, "theirs"));
  const seen = (await save(draft.text))?.current;
  if (!seen) throw new Error("it is refused");
  await act(async () => draft.rebase(seen));
  await elsewhere(() => page.server.model.updateComment(1, "theirs again"));
  expect((await save(draft.text))?.current?.text).toBe("theirs again");
  await act(async () => draft.rebase(page.server.model.comments[0] as never));
  expect(await save(draft.text)).toBeUndefined();
  expect(written()).toBe("mine, edited here");
});

test("the version that a draft began with survives a reload and is shared by all tabs", async () => {
  await act(async () => draft.set("edited before the reload"));
  const begun = draft.from;
  expect(begun).toMatchObject({ text: "mine", updated_at: page.server.model.comments[0]?.updated_at });
  page.server.model.updateComment(1, "theirs");
  const { server } = page;
  await page.close();
  page = new TestPage(server);
  await page.show(<Probe />);
  expect([draft.text, draft.from]).toEqual(["edited before the reload", begun]);
  expect((await save(draft.text))?.code).toBe("changed_meanwhile");
});

test("somebody who resolves the discussion meanwhile is no conflict, and stays the one who resolved it", async () => {
  await act(async () => topicDraft.set("a better text", "a better topic"));
  await elsewhere(() => page.server.model.updateDiscussion(1, { is_resolved: true }, grace));
  const { text, topic, from } = topicDraft;
  await act(async () => {
    await one.update({ topic, text }, { from });
    page.server.deliver();
    await settle();
  });
  expect(patches()).toBe(2);
  expect(one.discussion).toMatchObject({ topic: "a better topic", is_resolved: true, resolved_by: grace });
});

test("an edit of the topic alone that changed meanwhile is a conflict too", async () => {
  await act(async () => topicDraft.set("a better text", "topic"));
  await elsewhere(() => page.server.model.updateDiscussion(1, { topic: "another topic" }));
  const { text, topic, from } = topicDraft;
  await act(async () => {
    await expect(one.update({ topic, text }, { from })).rejects.toMatchObject({ current: { topic: "another topic" } });
  });
});

test("an edit whose answer was lost is not refused when it is sent again", async () => {
  await act(async () => draft.set(" mine, edited "));
  page.server.trouble = (path, method) => {
    if (method !== "PATCH") return undefined;
    page.server.trouble = undefined;
    page.server.model.updateComment(1, "mine, edited");
    return "down";
  };
  let sent: Promise<unknown> = Promise.resolve();
  await act(async () => {
    sent = thread.update(1, draft.text, { from: draft.from });
    await settle();
  });
  await act(() => page.browser.timers.advance(5_000));
  await act(async () => expect(await sent).toMatchObject({ text: "mine, edited" }));
  expect(patches()).toBe(2);
  await elsewhere(() => undefined);
  expect(thread.comments[0]).toMatchObject({ text: "mine, edited", pending: false });
});

test("an update that names no version overwrites, and one that changes nothing settles", async () => {
  await elsewhere(() => page.server.model.updateComment(1, "theirs"));
  await act(async () => {
    await thread.update(1, "mine after all");
    page.server.deliver();
    await settle();
  });
  expect(written()).toBe("mine after all");
  const before = page.server.model.head;
  await act(async () => {
    await thread.update(1, "mine after all");
    await settle();
  });
  expect(page.server.model.head).toBe(before);
  expect(thread.comments[0]).toMatchObject({ text: "mine after all", pending: false });
});

test("what is written while the edit is sent is a change of the saved version", async () => {
  await act(async () => draft.set("first"));
  const { from } = draft;
  await act(async () => draft.set("first and second"));
  let saved = await act(async () => thread.update(1, "first", { from }));
  page.server.deliver();
  await page.settle();
  await act(async () => void draft.sent({ text: "first", topic: "" }, saved));
  expect([draft.text, draft.from?.text, draft.from?.updated_at]).toEqual([
    "first and second",
    "first",
    saved.updated_at,
  ]);
  expect(await save(draft.text)).toBeUndefined();
  saved = page.server.model.comments[0] as never;
  expect(saved.text).toBe("first and second");
});

test("only an edit makes an item edited: resolving does not", async () => {
  await elsewhere(() => page.server.model.updateDiscussion(1, { is_resolved: true }, grace));
  expect(one.discussion).toMatchObject({ is_resolved: true, edited_at: null, resolved_by: grace });
  await elsewhere(() => page.server.model.changeAuthor({ ...grace, username: "admiral" }));
  expect(one.discussion?.resolved_by?.username).toBe("admiral");
  await elsewhere(() => page.server.model.updateDiscussion(1, { text: "edited" }));
  expect(one.discussion?.edited_at).toBe(page.server.model.discussions[0]?.edited_at);
  await elsewhere(() => page.server.model.deleteDiscussion(1));
  expect(one.discussion).toMatchObject({ author: null, resolved_by: null });
});

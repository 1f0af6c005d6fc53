import fc from "fast-check";
import { expect, test } from "vitest";
import { foldComments, foldDiscussions, type CommentPage, type DiscussionPage, type Event } from "../../src/index.js";
import { ARTICLE, COMMUNITY, Model } from "../support/model.js";

/** Random numbers choose among the discussions and comments that exist at the time, so every history is valid. */
const action = fc.record({
  kind: fc.nat({ max: 9 }),
  a: fc.nat(),
  b: fc.nat(),
  text: fc.string({ minLength: 1, maxLength: 8 }),
});

function perform(model: Model, { kind, a, b, text }: { kind: number; a: number; b: number; text: string }): void {
  const author = { id: 1 + (a % 3), username: `user ${a % 3}`, avatar_url: null };
  const discussion = 1 + (a % Math.max(1, model.discussions.length));
  const comments = model.comments.filter((one) => one.discussion_id === discussion);
  const comment = comments[b % Math.max(1, comments.length)]?.id ?? 0;
  if (kind === 0) model.createDiscussion(text, text, author);
  else if (kind === 1) model.updateDiscussion(discussion, { topic: text, is_resolved: b % 2 === 0 }, author);
  else if (kind === 2) {
    if (b % 4 === 0) model.deleteDiscussion(discussion);
  } else if (kind < 5) model.createComment(discussion, null, text, author);
  else if (kind < 8) model.createComment(discussion, comment || null, text, author);
  else if (kind === 8) model.updateComment(comment, text);
  else model.deleteComment(comment);
}

const history = fc.array(action, { minLength: 1, maxLength: 40 });
const scope = { articleId: ARTICLE };

/** A fresh snapshot, read page by page. */
function discussionsOf(model: Model, limit = 1000): DiscussionPage[] {
  const pages = [model.discussionPage(null, limit)];
  for (let next = pages[0]?.next_cursor; next; next = pages.at(-1)?.next_cursor)
    pages.push(model.discussionPage(next, limit));
  return pages;
}

function commentsOf(model: Model, discussion: number, limit = 1000): CommentPage[] {
  const pages = [model.commentPage(discussion, null, limit)];
  for (let next = pages[0]?.next_cursor; next; next = pages.at(-1)?.next_cursor)
    pages.push(model.commentPage(discussion, next, limit));
  return pages;
}

function foldAll(pages: readonly CommentPage[], discussion: number, events: readonly Event[]): readonly CommentPage[] {
  return events.reduce((folded, event) => {
    const next = foldComments(folded, discussion, event);
    if (next.kind === "refetch") throw new Error(`refetch for ${JSON.stringify(event)}`);
    return next.value;
  }, pages);
}

test("the law of events: a snapshot folded with later events is a fresh snapshot, even if events come twice or late", () => {
  fc.assert(
    fc.property(
      history,
      history,
      fc.integer({ min: 1, max: 5 }),
      fc.nat(),
      fc.nat(),
      fc.nat(),
      (before, after, limit, late, ahead, behind) => {
        const model = new Model();
        model.createDiscussion("first", "first", { id: 1, username: "ada", avatar_url: null });
        before.forEach((one) => perform(model, one));
        const discussions = discussionsOf(model, limit);
        const comments = commentsOf(model, 1, limit);
        const since = model.head;
        after.forEach((one) => perform(model, one));
        // A snapshot may show rows that are newer than its last_event_id.
        const early = Math.max(0, since - (ahead % 4));
        const claimed = <P extends { last_event_id: number }>(pages: P[]) =>
          pages.map((page) => ({ ...page, last_event_id: early }));
        // A node delivers an event unredacted until it hears of the deletion, and each answer may come from another node.
        const all = model.events.map((event, at) =>
          (behind >> (at % 30)) % 2 ? event : (model.unredacted[at] ?? event),
        );
        const events = all.slice(early);
        // Events come in order and at least once. Some come again.
        const delivered = [...events.slice(0, late % (events.length + 1)), ...events, ...all.slice(late % model.head)];

        const folded = delivered.reduce<readonly DiscussionPage[]>(
          (pages, event) => foldDiscussions(pages, scope, event),
          claimed(discussions),
        );
        expect(folded.flatMap((page) => page.discussions)).toEqual(
          discussionsOf(model).flatMap((page) => page.discussions),
        );
        const trees = foldAll(claimed(comments), 1, delivered);
        expect(trees.flatMap((page) => page.comments)).toEqual(commentsOf(model, 1).flatMap((page) => page.comments));
      },
    ),
    { numRuns: 300 },
  );
});

test("the redacted events of a deleted comment make a tombstone at its place, and replies below it", () => {
  const model = new Model();
  const ada = { id: 1, username: "ada", avatar_url: null };
  model.createDiscussion("secret topic", "secret", ada);
  model.createComment(1, null, "secret, on the page", ada);
  const [list, thread] = [[model.discussionPage(null, 10)], [model.commentPage(1, null, 10)]];
  const since = model.head;
  model.createComment(1, null, "secret", ada);
  model.updateComment(1, "secret, edited");
  model.updateComment(2, "secret, edited");
  model.createComment(1, 1, "a reply", ada);
  model.createComment(1, 2, "a reply", ada);
  model.updateDiscussion(1, { topic: "secret, edited", is_resolved: true });
  model.deleteComment(1);
  model.deleteComment(2);
  model.deleteDiscussion(1);
  expect(JSON.stringify(model.events)).not.toContain("secret");
  // From the first redacted event on, the page shows a tombstone, and never an item without text that is not deleted.
  let pages: readonly CommentPage[] = thread;
  let lists: readonly DiscussionPage[] = list;
  for (const event of model.events.slice(since)) {
    pages = foldAll(pages, 1, [event]);
    lists = foldDiscussions(lists, scope, event);
    for (const item of [...(pages[0]?.comments ?? []), ...(lists[0]?.discussions ?? [])])
      expect(item.text === null).toBe(item.deleted_at !== null);
  }
  expect(pages[0]?.comments).toEqual(model.commentPage(1, null, 10).comments);
  expect(lists[0]?.discussions).toEqual(model.discussionPage(null, 10).discussions);
});

test("pages that are not loaded stay unloaded, and the loaded pages are a fresh snapshot of their part", () => {
  fc.assert(
    fc.property(history, history, (before, after) => {
      const model = new Model();
      model.createDiscussion("first", "first", { id: 1, username: "ada", avatar_url: null });
      before.forEach((one) => perform(model, one));
      const first = model.commentPage(1, null, 2);
      const since = model.head;
      after.forEach((one) => perform(model, one));
      const folded = foldAll([first], 1, model.events.slice(since)).flatMap((page) => page.comments);
      const fresh = commentsOf(model, 1).flatMap((page) => page.comments);
      expect(folded).toEqual(first.next_cursor === null ? fresh : fresh.slice(0, 2));
    }),
    { numRuns: 200 },
  );
});

test("an unknown parent asks for a refetch; an irrelevant or covered event changes no reference", () => {
  const model = new Model();
  const ada = { id: 1, username: "ada", avatar_url: null };
  model.createDiscussion("one", "one", ada);
  const empty = [model.commentPage(1, null, 10)];
  model.createComment(1, null, "root", ada);
  model.createComment(1, 1, "reply", ada);
  expect(foldComments(empty, 1, model.events[2] as Event)).toEqual({ kind: "refetch" });
  const full = [model.commentPage(1, null, 10)];
  for (const event of model.events) expect(foldComments(full, 1, event)).toEqual({ kind: "ok", value: full });
  expect((foldComments(full, 2, model.events[2] as Event) as { value: unknown }).value).toBe(full);
  const list = [model.discussionPage(null, 10)];
  for (const event of model.events) expect(foldDiscussions(list, scope, event)).toBe(list);
  expect(foldDiscussions(list, { articleId: 99 }, { ...(model.events[0] as Event), event_id: 99 })).toBe(list);
});

test("author_changed sets the new name in every cached list, but not for pseudonyms and other communities", () => {
  fc.assert(
    fc.property(
      history,
      history,
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 4 }),
      (before, after, limit, who) => {
        const model = new Model();
        const pseudonym = { id: null, username: "user 1", avatar_url: null };
        model.createDiscussion("first", "first", { id: 1, username: "user 1", avatar_url: null });
        model.createComment(1, null, "masked", pseudonym);
        before.forEach((one) => perform(model, one));
        const discussions = discussionsOf(model, limit);
        const comments = commentsOf(model, 1, limit);
        const since = model.head;
        model.changeAuthor({ id: who, username: "renamed", avatar_url: "/new.png" });
        after.forEach((one) => perform(model, one));
        const events = model.since(since);
        const folded = events.reduce<readonly DiscussionPage[]>(
          (pages, event) => foldDiscussions(pages, scope, event),
          discussions,
        );
        expect(folded.flatMap((page) => page.discussions)).toEqual(
          discussionsOf(model).flatMap((page) => page.discussions),
        );
        const trees = foldAll(comments, 1, events).flatMap((page) => page.comments);
        expect(trees).toEqual(commentsOf(model, 1).flatMap((page) => page.comments));
        const masks = trees.filter((comment) => comment.author?.id === null);
        expect(masks.every((comment) => comment.author?.username === "user 1")).toBe(true);

        const elsewhere = { ...(events[0] as Event), community_id: COMMUNITY + 1 };
        expect(foldDiscussions(discussions, scope, elsewhere)).toBe(discussions);
        expect(foldComments(comments, 1, elsewhere, COMMUNITY)).toEqual({ kind: "ok", value: comments });
      },
    ),
    { numRuns: 100 },
  );
});

test("an event of an unknown type changes neither lists nor threads", () => {
  const known = [
    "new_discussion",
    "updated_discussion",
    "deleted_discussion",
    "new_comment",
    "updated_comment",
    "deleted_comment",
  ];
  const type = fc
    .oneof(fc.string(), fc.constantFrom("votes_changed", "toString", "__proto__", "constructor"))
    .filter((one) => !known.includes(one) && one !== "author_changed");
  const model = new Model();
  model.createDiscussion("one", "one", { id: 1, username: "ada", avatar_url: null });
  model.createComment(1, null, "root", { id: 1, username: "ada", avatar_url: null });
  const list = [model.discussionPage(null, 10)];
  const thread = [model.commentPage(1, null, 10)];
  fc.assert(
    fc.property(type, fc.object(), fc.nat({ max: 2 }), (made_up, fields, id) => {
      const event = {
        ...fields,
        type: made_up,
        event_id: 99,
        community_id: COMMUNITY,
        article_id: ARTICLE,
        discussion_id: id,
        comment_id: id,
      };
      expect(foldDiscussions(list, scope, event as never)).toBe(list);
      expect((foldComments(thread, 1, event as never) as { value: unknown }).value).toBe(thread);
    }),
    { numRuns: 200 },
  );
});

import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { isUnknown } from "../../src/core/reducers/unread.js";
import { foldFollows, isFollowUnknown } from "../../src/core/reducers/follows.js";
import { foldNotifications, isIncomplete, unreadCountOf } from "../../src/core/reducers/notifications.js";
import { foldUnread } from "../../src/core/reducers/unread-list.js";
import {
  commentTrees,
  foldComments,
  foldDiscussions,
  foldSummary,
  type Author,
  type CommentPage,
  type CommentTree,
  type Discussion,
  type DiscussionPage,
  type Event,
  type Notifications,
  type SummarySnapshot,
} from "../../src/index.js";
import { ARTICLE, COMMUNITY, Model, READER } from "../support/model.js";

// Hundreds of histories take some seconds on a machine that builds something else meanwhile.
vi.setConfig({ testTimeout: 30_000 });

/** Random numbers choose among the discussions and comments that exist at the time, so every history is valid. */
const action = fc.record({
  kind: fc.nat({ max: 23 }),
  a: fc.nat(),
  b: fc.nat(),
  text: fc.string({ minLength: 1, maxLength: 8 }),
});

const levels = ["follow", "mute", "default"] as const;

function perform(
  model: Model,
  { kind, a, b, text: words }: { kind: number; a: number; b: number; text: string },
): void {
  const text = b % 3 === 0 ? `${words} @u${1 + (b % 4)}` : words;
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
  else if (kind === 9) model.deleteComment(comment);
  else if (kind === 10) model.vote("discussions", discussion, 1 + (b % 3), ([1, 0, -1] as const)[a % 3] ?? 0);
  else if (kind === 11) model.vote("comments", comment, 1 + (a % 3), ([1, 0, -1] as const)[b % 3] ?? 0);
  else if (kind === 12) model.markRead(discussion, { comment_ids: [comment, comment + 2, comment + 3] });
  else if (kind === 13) model.markRead(discussion, { discussion: b % 2 === 0, up_to_comment_id: comment });
  else if (kind === 14) model.markUnread(discussion, b % 3 === 0 ? null : comment);
  else if (kind === 15) model.markRead(discussion, { discussion: true });
  else if (kind === 16) {
    if (b % 4 === 0) model.markArticleRead();
  } else if (kind === 17) model.follow(discussion, levels[b % 3] ?? "follow");
  else if (kind === 18) model.follow(null, levels[b % 3] ?? "follow");
  else if (kind === 19) model.readNotifications({ ids: [1 + (a % 9), 1 + (b % 9)] });
  else if (kind === 20) model.readNotifications({ up_to_id: b % 12 });
  else if (kind < 23) model.writeSummary(text, author);
  else model.deleteSummary();
}

const history = fc.array(action, { minLength: 1, maxLength: 40 });
const scope = { articleId: ARTICLE };

/**
 * Expects what folding gives to be what a snapshot has. Counts that the events left unknown are reported, and not compared. What is
 * followed is not compared either where it is unknown.
 */
function expectDiscussions(folded: readonly DiscussionPage[], fresh: readonly DiscussionPage[]): Discussion[] {
  const [all, expected] = [folded, fresh].map((pages) => pages.flatMap((page) => page.discussions)) as [
    Discussion[],
    Discussion[],
  ];
  const unknown = all.filter(isUnknown);
  const isUnclear = (id: number) => all.some((one) => one.id === id && one.has_written === null);
  const isOpen = (id: number) => all.some((one) => one.id === id && isFollowUnknown(one));
  expect(all).toEqual(
    expected.map((one) => ({
      ...one,
      ...(unknown.some(({ id }) => id === one.id) && { unread_count: null, first_unread_comment_id: null }),
      ...(isUnclear(one.id) && { has_written: null }),
      ...(isOpen(one.id) && { is_followed: null }),
    })),
  );
  return unknown;
}

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
      fc.nat(),
      (before, after, limit, late, ahead, behind, joins) => {
        const model = new Model();
        model.createDiscussion("first", "first", { id: 1, username: "ada", avatar_url: null });
        let joined = 0;
        for (const [at, one] of before.entries()) {
          if (at === joins % 40) {
            model.join();
            joined = model.head;
          }
          perform(model, one);
        }
        const discussions = discussionsOf(model, limit);
        const comments = commentsOf(model, 1, limit);
        const since = model.head;
        after.forEach((one) => perform(model, one));
        // A snapshot may show rows that are newer than its last_event_id. After a new membership everything is fetched again.
        const early = Math.max(joined, since - (ahead % 4));
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
        const unknown = expectDiscussions(folded, discussionsOf(model));
        // A replayed mark may count fewer comments than the snapshot, and a deletion does not say whether it deletes what is unread.
        const isReplayed = early < since || delivered.length > events.length;
        for (const { id } of unknown)
          expect(
            (isReplayed && has(delivered, "read_state_changed", id)) || has(delivered, "deleted_comment", id),
          ).toBe(true);
        // Of what was deleted since, an event does not say who wrote it.
        for (const { id } of folded.flatMap((page) => page.discussions).filter((one) => one.has_written === null))
          expect(
            delivered.some(
              (one) => "author" in one && one.author === null && "discussion_id" in one && one.discussion_id === id,
            ),
          ).toBe(true);
        const trees = foldAll(claimed(comments), 1, delivered);
        expect(commentTrees(trees)).toEqual(commentTrees(commentsOf(model, 1)));
        expect(new Set(idsOf(trees)).size).toBe(idsOf(trees).length);
      },
    ),
    { numRuns: 300 },
  );
});

test("what is followed is known after every event, under one's name and under a pseudonym that one knows", () => {
  const who = fc.record({ isAdmin: fc.boolean(), isMasked: fc.boolean(), limit: fc.integer({ min: 1, max: 5 }) });
  fc.assert(
    fc.property(history, history, who, (before, after, { isAdmin, isMasked, limit }) => {
      const model = new Model();
      const memberships = model.reader.memberships.map((one) => ({
        ...one,
        ...(isAdmin && { role: "admin" as const }),
        ...(isMasked && { pseudonym: "Gray Heron" }),
      }));
      model.reader = { ...model.reader, memberships };
      const heron = { id: null, username: "Gray Heron", avatar_url: null };
      model.createDiscussion("first", "first", { id: 2, username: "grace", avatar_url: null });
      before.forEach((one) => perform(model, one));
      let follows = model.follows();
      let pages: readonly DiscussionPage[] = discussionsOf(model, limit);
      const isOwn = ({ author }: { author: Author | null }) =>
        author?.id === READER || (isMasked && author?.username === heron.username);
      for (const [at, one] of after.entries()) {
        const since = model.head;
        perform(model, one);
        if (isMasked && at % 7 === 3) model.createComment(1, null, "masked", heron);
        const events = model.unredacted.slice(since);
        const folded = foldFollows(follows, { articleId: ARTICLE, communityId: COMMUNITY }, events, READER, isOwn);
        follows = folded.isComplete ? folded.list : model.follows();
        for (const event of events) pages = foldDiscussions(pages, scope, event);
        expectDiscussions(pages, discussionsOf(model));
        expect(pages[0]?.viewer).toEqual(discussionsOf(model)[0]?.viewer);
        expect(pages.flatMap((page) => page.discussions).filter(isFollowUnknown)).toEqual([]);
        expect(follows.follows).toEqual(model.follows().follows);
      }
    }),
    { numRuns: 200 },
  );
});

test("the law of events of a summary, even if events come twice, late or redacted, and under another name", () => {
  const options = fc.record({ late: fc.nat(), ahead: fc.nat({ max: 5 }), behind: fc.nat() });
  const only = fc.record({
    kind: fc.integer({ min: 20, max: 23 }),
    a: fc.nat(),
    b: fc.nat(),
    text: fc.string({ minLength: 1 }),
  });
  const changes = fc.array(only, { maxLength: 12 });
  const place = { articleId: ARTICLE, communityId: COMMUNITY };
  fc.assert(
    fc.property(changes, changes, options, (before, after, { late, ahead, behind }) => {
      const model = new Model();
      before.forEach((one) => perform(model, one));
      const since = model.head;
      const early = Math.max(0, since - ahead);
      const start: SummarySnapshot = { ...model.summarySnapshot(), last_event_id: early };
      for (const [at, one] of after.entries()) {
        if (at === 4) model.changeAuthor({ id: 1 + (late % 3), username: "renamed", avatar_url: null });
        perform(model, one);
      }
      const all = model.events.map((event, at) =>
        (behind >> (at % 30)) % 2 ? event : (model.unredacted[at] ?? event),
      );
      const events = all.slice(early);
      const delivered = [
        ...events.slice(0, late % (events.length + 1)),
        ...events,
        ...all.slice(late % (model.head + 1)),
      ];
      const folded = delivered.reduce((one, event) => foldSummary(one, place, event), start);
      // The model writes under the old name after a rename, as nobody does.
      const isRenamed = after.length > 4;
      if (!isRenamed) expect(folded.summary).toEqual(model.summary);
      expect(folded.summary?.revision).toBe(model.summary?.revision);
      expect(folded.summary?.text).toBe(model.summary?.text);
      const elsewhere = { articleId: ARTICLE + 1, communityId: COMMUNITY };
      const others: SummarySnapshot = { ...start, summary: null };
      expect(events.reduce((one, event) => foldSummary(one, elsewhere, event), others)).toBe(others);
    }),
    { numRuns: 500 },
  );
});

test("a rename and the end of access change a summary", () => {
  const model = new Model();
  const place = { articleId: ARTICLE, communityId: COMMUNITY };
  model.writeSummary("text", { id: 2, username: "grace", avatar_url: null });
  const read = { ...model.summarySnapshot(), viewer: { user_id: 9, memberships: [] } };
  model.changeAuthor({ id: 2, username: "hopper", avatar_url: null });
  model.changeKind("private", "public");
  const [renamed, closed] = model.events.slice(-2) as [Event, Event];
  const after = foldSummary(read, place, renamed);
  expect(after.summary).toEqual(model.summary);
  expect(foldSummary(after, place, closed).summary).toBe(null);
  expect(foldSummary(model.summarySnapshot(model.reader), place, { ...closed, event_id: 1e9 }).summary).not.toBe(null);
});

test("the law of events of notifications: the list and the number of unread ones, however little the events say", () => {
  const options = fc.record({
    limit: fc.integer({ min: 1, max: 4 }),
    isTerse: fc.boolean(),
    unread: fc.boolean(),
    late: fc.nat(),
    ahead: fc.nat({ max: 3 }),
  });
  let known = 0;
  let all = 0;
  fc.assert(
    fc.property(history, history, options, (before, after, { limit, isTerse, unread, late, ahead }) => {
      const model = new Model();
      model.isTerse = isTerse;
      const ada = { id: 1, username: "ada", avatar_url: null };
      model.createDiscussion("first", "first", ada);
      model.createComment(1, null, "first", ada);
      before.forEach((one) => perform(model, one));
      let pages: readonly Notifications[] = [model.notificationPage(null, limit, unread)];
      for (let next = pages[0]?.next_cursor; next && pages.length < 3; next = pages.at(-1)?.next_cursor)
        pages = [...pages, model.notificationPage(next, limit, unread)];
      const early = Math.max(0, model.head - ahead);
      pages = pages.map((page) => ({ ...page, last_event_id: early }));
      after.forEach((one) => perform(model, one));
      model.changeAuthor({ id: 2, username: "renamed", avatar_url: null });
      const events = model.events.slice(early);
      all += 1;
      for (const event of [...events.slice(0, late % (events.length + 1)), ...events]) {
        const next = foldNotifications(pages, { unread }, event, READER);
        // It is read again.
        if (next.kind === "refetch") return;
        pages = next.value;
      }
      known += 1;
      const fresh = model.notificationPage(null, 1000, unread);
      const folded = pages.flatMap((page) => page.notifications);
      const last = pages.at(-1);
      const loaded = last?.next_cursor === null ? fresh.notifications : fresh.notifications.slice(0, folded.length);
      expect(folded).toEqual(
        loaded.map((one, at) => {
          const { topic, excerpt, actor } = folded[at] ?? one;
          return folded[at] && isIncomplete(folded[at]) ? { ...one, topic, excerpt, actor, is_incomplete: true } : one;
        }),
      );
      expect(unreadCountOf(pages)).toBe(fresh.unread_count);
      if (!isTerse) expect(folded.filter(isIncomplete)).toEqual([]);
      for (const event of events)
        expect(foldNotifications(pages, { unread }, event, READER)).toEqual({ kind: "ok", value: pages });
      expect(foldNotifications(pages, { unread }, { ...(events.at(-1) as Event), event_id: 1e9 }, 9).kind).toBe("ok");
    }),
    { numRuns: 800 },
  );
  expect(known).toBeGreaterThan(all / 2);
});

test("a community that turns private is gone for whoever watches it, and stays for its members", () => {
  fc.assert(
    fc.property(history, history, fc.integer({ min: 1, max: 5 }), (before, after, limit) => {
      const grace = { id: 2, username: "grace", avatar_url: null };
      const model = new Model();
      model.createDiscussion("first", "first", grace);
      before.forEach((one) => perform(model, one));
      for (const viewer of [model.reader, { user_id: 9, memberships: [] }, null]) {
        const isMember = viewer === model.reader;
        const list: readonly DiscussionPage[] = [model.discussionPage(null, limit, viewer)];
        const thread: readonly CommentPage[] = [model.commentPage(1, null, limit, viewer)];
        const since = model.head;
        after.forEach((one) => perform(model, one));
        model.changeKind("open", "public");
        const told = model.since(since);
        const fold = (events: readonly Event[], pages: readonly DiscussionPage[]) =>
          events.reduce<readonly DiscussionPage[]>((all, event) => foldDiscussions(all, scope, event), pages);
        const foldThread = (events: readonly Event[], pages: readonly CommentPage[]) =>
          events.reduce<readonly CommentPage[]>((all, event) => {
            const next = foldComments(all, 1, event, COMMUNITY);
            return next.kind === "ok" ? next.value : all;
          }, pages);
        const live = fold(told, list);
        // A watcher sees what members see, but for what is only theirs.
        if (!isMember && list[0]?.next_cursor === null)
          expect(live[0]?.discussions).toEqual(model.discussionPage(null, 1000, viewer).discussions);
        const comments = foldThread(told, thread);
        model.changeKind("hidden", "open");
        const closing = [model.events.at(-1) as Event];
        const closed = fold(closing, live).flatMap((page) => page.discussions);
        const gone = foldThread(closing, comments).flatMap((page) => page.comments);
        expect([closed, gone]).toEqual(
          isMember ? [live.flatMap((page) => page.discussions), comments.flatMap((page) => page.comments)] : [[], []],
        );
        const elsewhere = [{ ...(closing[0] as Event), community_id: COMMUNITY + 1 }];
        expect(fold(elsewhere, live)).toBe(live);
      }
    }),
    { numRuns: 100 },
  );
});

const has = (events: readonly Event[], type: Event["type"], discussion: number) =>
  events.some((event) => event.type === type && "discussion_id" in event && event.discussion_id === discussion);

test("what is unread is known after every event of a history without deletions and without replays", () => {
  fc.assert(
    fc.property(history, history, fc.integer({ min: 1, max: 5 }), (before, after, limit) => {
      const model = new Model();
      model.createDiscussion("first", "first", { id: 2, username: "grace", avatar_url: null });
      before.forEach((one) => perform(model, one));
      let pages: readonly DiscussionPage[] = discussionsOf(model, limit);
      for (const one of after.filter(({ kind }) => kind !== 9)) {
        const since = model.head;
        perform(model, one);
        for (const event of model.since(since)) pages = foldDiscussions(pages, scope, event);
        expect(expectDiscussions(pages, discussionsOf(model))).toEqual([]);
      }
    }),
    { numRuns: 300 },
  );
});

test("the sums of what is unread, folded with events, are fresh sums, or are fetched again", () => {
  fc.assert(
    fc.property(history, history, fc.integer({ min: 1, max: 3 }), fc.boolean(), (before, after, limit, isCached) => {
      const model = new Model();
      model.createDiscussion("first", "first", { id: 2, username: "grace", avatar_url: null });
      before.forEach((one) => perform(model, one));
      const list = model.unread(model.reader, limit * 10);
      let pages: readonly DiscussionPage[] = discussionsOf(model);
      const since = model.head;
      after.forEach((one) => perform(model, one));
      const events = model.since(since);
      for (const event of events) pages = foldDiscussions(pages, scope, event);
      const lookup = (id: number) => {
        const found = pages.flatMap((page) => page.discussions).find((one) => one.id === id);
        if (!isCached || !found || isUnknown(found)) return undefined;
        const { is_unread, unread_count, topic } = found;
        if (is_unread === null || unread_count === null || topic === null) return null;
        const { community_id, article_id, first_unread_comment_id, comment_version } = found;
        const place = { id, community_id, article_id, topic };
        return { ...place, is_unread, unread_count, first_unread_comment_id, comment_version };
      };
      const folded = foldUnread(list, {}, events, READER, lookup);
      const fresh = model.unread(model.reader, 1000);
      if (!folded) return;
      expect(folded.articles).toEqual(fresh.articles);
      expect(folded.communities).toEqual(fresh.communities);
      // The version moves with one's own comments too, and nothing hangs on it where nothing else changed.
      const shown = (one: { id: number; unread_count: number; topic: string }) => [one.id, one.unread_count, one.topic];
      expect(folded.discussions.map(shown)).toEqual(fresh.discussions.map(shown).slice(0, folded.discussions.length));
      expect(foldUnread(folded, {}, events, READER, lookup)).toEqual(folded);
    }),
    { numRuns: 300 },
  );
});

test("of a discussion with one unread comment, a deletion leaves nothing unknown", () => {
  const grace = { id: 2, username: "grace", avatar_url: null };
  const model = new Model();
  model.createDiscussion("one", "one", grace);
  for (let count = 0; count < 4; count += 1) model.createComment(1, null, "text", grace);
  model.markRead(1, { discussion: true, comment_ids: [1, 2, 4] });
  let pages: readonly DiscussionPage[] = discussionsOf(model);
  for (const id of [1, 4, 3, 2]) {
    const since = model.head;
    model.deleteComment(id);
    pages = model.since(since).reduce((folded, event) => foldDiscussions(folded, scope, event), pages);
    expect(expectDiscussions(pages, discussionsOf(model))).toEqual([]);
  }
});

test("events without a version, and pseudonyms that may be one's own, leave the count unknown until a mark's event counts", () => {
  const heron = { id: null, username: "Gray Heron", avatar_url: null };
  const grace = { id: 2, username: "grace", avatar_url: null };
  const model = new Model();
  model.createDiscussion("one", "one", grace);
  const before = discussionsOf(model);
  model.createComment(1, null, "text", grace);
  const { comment_version: _, ...older } = model.events.at(-1) as Extract<Event, { type: "new_comment" }>;
  model.createComment(1, null, "text", heron);
  const [told, masked] = [model.events.at(-2) as Event, model.events.at(-1) as Event];
  const counts = (...events: Event[]) => {
    const pages = events.reduce<readonly DiscussionPage[]>((all, one) => foldDiscussions(all, scope, one), before);
    const { unread_count, comment_version } = pages[0]?.discussions[0] as Discussion;
    return [unread_count, comment_version];
  };
  expect(counts(told)).toEqual([1, 1]);
  expect(counts(older)).toEqual([null, 0]);
  expect(counts(masked)).toEqual([null, 2]);
  expect(counts(told, masked)).toEqual([null, 2]);
  model.markRead(1, { comment_ids: [1] });
  const marked = model.events.at(-1) as Event;
  expect(counts(told, masked, marked)).toEqual([1, 2]);
  // What a mark counts may be older than what is known.
  expect(counts(told, masked, { ...marked, comment_version: 1, unread_count: 0 } as Event)).toEqual([null, 2]);
  expect(counts(told, { ...marked, comment_version: 0, unread_count: 0 } as Event)).toEqual([null, 1]);
});

test("marks change the comments that they say, and no other reference; too many ranges ask for a refetch", () => {
  const grace = { id: 2, username: "grace", avatar_url: null };
  const ada = { id: 1, username: "ada", avatar_url: null };
  const model = new Model();
  model.createDiscussion("one", "one", grace);
  for (let count = 0; count < 6; count += 1)
    model.createComment(1, count % 3 || null, "text", count === 2 ? ada : grace);
  const since = model.head;
  const pages = commentsOf(model, 1);
  model.markRead(1, { comment_ids: [3, 4] });
  const folded = foldAll(pages, 1, model.since(since));
  expect(folded).toEqual(commentsOf(model, 1));
  const [before, after] = [pages, folded].map(([page]) => page?.comments);
  expect([before, after].map((trees) => trees?.map((tree) => tree.is_unread))).toEqual([
    [true, true],
    [true, false],
  ]);
  expect(after?.[0]).toBe(before?.[0]);
  const strangers = pages.map((page) => ({ ...page, viewer: { user_id: 9, memberships: [] } }));
  expect(foldAll(strangers, 1, model.since(since))).toBe(strangers);

  model.mostRanges = 0;
  model.markRead(1, { comment_ids: [1] });
  const event = model.events.at(-1) as Event;
  expect(foldComments(folded, 1, event)).toEqual({ kind: "refetch" });
  expect(foldComments(commentsOf(model, 1), 1, event).kind).toBe("ok");
  expect(foldAll(strangers, 1, [event])).toBe(strangers);
});

test("a reader who is no member, and the pages of an older server, have nothing unread", () => {
  const grace = { id: 2, username: "grace", avatar_url: null };
  const model = new Model();
  const viewers = [null, { user_id: 1, memberships: [] }];
  model.createDiscussion("one", "one", grace);
  for (const viewer of viewers) {
    const pages = [model.discussionPage(null, 10, viewer)];
    const thread = [model.commentPage(1, null, 10, viewer)];
    const since = model.head;
    model.createDiscussion("two", "two", grace);
    model.createComment(1, null, "text", grace);
    model.markRead(1, { discussion: true, comment_ids: [1] });
    const events = model.since(since);
    expect(
      events.reduce<readonly DiscussionPage[]>((all, one) => foldDiscussions(all, scope, one), pages)[0]?.discussions,
    ).toEqual(model.discussionPage(null, 10, viewer).discussions);
    expect(foldAll(thread, 1, events)[0]?.comments).toEqual(model.commentPage(1, null, 10, viewer).comments);
  }
  const [page] = discussionsOf(model);
  const old = page?.discussions.map(
    ({ is_unread: _, unread_count: _1, first_unread_comment_id: _2, comment_version: _3, ...one }) => one,
  ) as Discussion[];
  const viewer = { user_id: 1, memberships: [{ community_id: COMMUNITY, role: "member", pseudonym: null }] };
  const older = [{ ...page, discussions: old, viewer } as unknown as DiscussionPage];
  const since = model.head;
  model.createComment(1, null, "more", grace);
  const folded = model
    .since(since)
    .reduce<readonly DiscussionPage[]>((all, one) => foldDiscussions(all, scope, one), older);
  expect(folded[0]?.discussions.some(isUnknown)).toBe(false);
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
  expectDiscussions(lists, [model.discussionPage(null, 10)]);
});

test("pages that are not loaded stay unloaded, and the loaded pages are a fresh snapshot of their part", () => {
  fc.assert(
    fc.property(history, history, fc.integer({ min: 1, max: 2 }), (before, after, limit) => {
      const model = new Model();
      model.createDiscussion("first", "first", { id: 1, username: "ada", avatar_url: null });
      before.forEach((one) => perform(model, one));
      const first = model.commentPage(1, null, limit);
      const since = model.head;
      after.forEach((one) => perform(model, one));
      const folded = commentTrees(foldAll([first], 1, model.events.slice(since)));
      const fresh = commentTrees(commentsOf(model, 1));
      expect(folded).toEqual(first.next_cursor === null ? fresh : upTo(fresh, first));
    }),
    { numRuns: 300 },
  );
});

test("pages that are loaded while comments come and go have every comment once", () => {
  fc.assert(
    fc.property(fc.array(history, { minLength: 2, maxLength: 6 }), fc.nat({ max: 3 }), (histories, behind) => {
      const model = new Model();
      model.createDiscussion("first", "first", { id: 1, username: "ada", avatar_url: null });
      model.createComment(1, null, "first", { id: 1, username: "ada", avatar_url: null });
      let [pages, seen]: [readonly CommentPage[], number] = [[], 0];
      const load = () => {
        const last = pages.at(-1);
        if (last?.next_cursor === null) return;
        pages = [...pages, model.commentPage(1, last?.next_cursor ?? null, 1)];
      };
      const fold = (until: number) => {
        pages = foldAll(pages, 1, model.events.slice(seen, until));
        seen = Math.max(seen, until);
      };
      for (const part of histories) {
        part.forEach((one) => perform(model, one));
        load();
        // The events come a little later than the pages.
        fold(Math.max(seen, model.head - behind));
      }
      for (let next = pages.at(-1)?.next_cursor; next; next = pages.at(-1)?.next_cursor) load();
      fold(model.head);
      expect(commentTrees(pages)).toEqual(commentTrees(commentsOf(model, 1)));
      expect(new Set(idsOf(pages)).size).toBe(idsOf(pages).length);
    }),
    { numRuns: 300 },
  );
});

test("pages that are loaded around a comment and both ways, while comments come and go, have every comment once", () => {
  const middle = fc.record({ parts: fc.array(history, { minLength: 2, maxLength: 6 }), at: fc.nat({ max: 30 }) });
  const ways = fc.array(fc.boolean(), { minLength: 6, maxLength: 6 });
  fc.assert(
    fc.property(history, middle, ways, fc.integer({ min: 1, max: 3 }), (before, { parts, at }, backs, limit) => {
      const ada = { id: 1, username: "ada", avatar_url: null };
      const model = new Model();
      model.createDiscussion("first", "first", ada);
      model.createComment(1, null, "first", ada);
      // More replies than a page has.
      for (let reply = 0; reply < 14; reply += 1) model.createComment(1, 1 + (reply % 3) * (reply % 2), "reply", ada);
      before.forEach((one) => perform(model, one));
      const ids = model.comments.filter((one) => one.discussion_id === 1).map((one) => one.id);
      const around = ids[at % ids.length];
      const read = () => [model.commentPage(1, null, limit, model.reader, around)];
      let [pages, seen]: [readonly CommentPage[], number] = [read(), model.head];
      const load = (back: boolean) => {
        const cursor = back ? pages[0]?.previous_cursor : pages.at(-1)?.next_cursor;
        if (!cursor) return false;
        const page = model.commentPage(1, cursor, limit);
        pages = back ? [page, ...pages] : [...pages, page];
        return true;
      };
      const fold = () => {
        for (const event of model.events.slice(seen)) {
          const folded = foldComments(pages, 1, event);
          // What hangs on a comment that is not loaded is read again, with all events until now.
          pages = folded.kind === "refetch" ? read() : folded.value;
        }
        seen = model.head;
      };
      expect(idsOf(pages)).toContain(around);
      for (const [part, changes] of parts.entries()) {
        changes.forEach((one) => perform(model, one));
        load(backs[part] ?? false);
        fold();
        expect(new Set(idsOf(pages)).size).toBe(idsOf(pages).length);
      }
      while (load(true) || load(false));
      expect(commentTrees(pages)).toEqual(commentTrees(commentsOf(model, 1)));
      expect(new Set(idsOf(pages)).size).toBe(idsOf(pages).length);
    }),
    { numRuns: 500 },
  );
});

/** The part of the trees that ends where the page ended when it was loaded. */
function upTo(trees: readonly CommentTree[], page: CommentPage): CommentTree[] {
  const root = page.comments.at(-1)?.id ?? 0;
  const newest = Math.max(...idsOf([{ ...page, comments: page.comments.slice(-1) }]));
  const cut = (tree: CommentTree): CommentTree => ({
    ...tree,
    replies: tree.replies.filter((reply) => reply.id <= newest).map(cut),
  });
  return trees.filter((tree) => tree.id <= root).map((tree) => (tree.id === root && page.continues ? cut(tree) : tree));
}

/** The ids of all comments that the pages do not repeat. */
function idsOf(pages: readonly CommentPage[]): number[] {
  const ids = (trees: readonly CommentTree[]): number[] =>
    trees.flatMap((tree) => [...(tree.is_repeated ? [] : [tree.id]), ...ids(tree.replies)]);
  return pages.flatMap((page) => ids(page.comments));
}

test("a page that goes on with a root's replies is put together with the page before", () => {
  const model = new Model();
  const ada = { id: 1, username: "ada", avatar_url: null };
  model.createDiscussion("one", "one", ada);
  model.createComment(1, null, "root", ada);
  for (let reply = 0; reply < 4; reply += 1) model.createComment(1, 1, "reply", ada);
  for (let reply = 0; reply < 3; reply += 1) model.createComment(1, 3, "reply to a reply", ada);
  const pages = commentsOf(model, 1, 1);
  expect(pages.map((page) => [page.next_cursor, page.continues])).toEqual([
    ["1-5", true],
    [null, false],
  ]);
  const [root] = pages[1]?.comments ?? [];
  expect([root?.is_repeated, root?.text, root?.replies[0]?.is_repeated]).toEqual([true, null, true]);
  expect(commentTrees(pages)).toEqual(commentTrees(commentsOf(model, 1)));
  // A reply below a comment that the second page does not repeat is kept there, with the way to it.
  const since = model.head;
  model.createComment(1, 5, "late", ada);
  const folded = foldAll(pages, 1, model.since(since));
  expect(folded[0]).toBe(pages[0]);
  expect(commentTrees(folded)).toEqual(commentTrees(commentsOf(model, 1)));
  // The text is that of the page which does not repeat it, whatever comes.
  model.updateComment(3, "edited");
  expect(commentTrees(foldAll(folded, 1, model.since(since + 1)))).toEqual(commentTrees(commentsOf(model, 1)));
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
        expectDiscussions(folded, discussionsOf(model));
        const trees = commentTrees(foldAll(comments, 1, events));
        expect(trees).toEqual(commentTrees(commentsOf(model, 1)));
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
    "votes_changed",
    "own_vote_changed",
    "read_state_changed",
    "follow_changed",
    "community_changed",
    "new_notification",
    "notifications_read",
    "notifications_withdrawn",
    "membership_changed",
  ];
  const type = fc
    .oneof(fc.string(), fc.constantFrom("summary_changed", "toString", "__proto__", "constructor"))
    .filter((one) => !known.includes(one) && one !== "author_changed");
  const model = new Model();
  model.createDiscussion("one", "one", { id: 1, username: "ada", avatar_url: null });
  model.createComment(1, null, "root", { id: 1, username: "ada", avatar_url: null });
  const list = [model.discussionPage(null, 10)];
  const thread = [model.commentPage(1, null, 10)];
  const sums = model.unread(model.reader, 10);
  const [follows, inbox] = [model.follows(), [model.notificationPage(null, 10)]];
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
      expect(foldUnread(sums, {}, [event as never], READER, () => undefined)).toBe(sums);
      expect(
        foldFollows(follows, { articleId: ARTICLE, communityId: COMMUNITY }, [event as never], READER, () => true).list,
      ).toBe(follows);
      expect((foldNotifications(inbox, {}, event as never, READER) as { value: unknown }).value).toBe(inbox);
    }),
    { numRuns: 200 },
  );
});

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  callOptions,
  createComment,
  createDiscussion,
  deleteComment,
  deleteDiscussion,
  deleteSummary,
  foldComments,
  foldDiscussions,
  foldNotifications,
  foldSummary,
  followArticle,
  followDiscussion,
  getSummary,
  isApiError,
  listComments,
  listDiscussions,
  listNotifications,
  markArticleRead,
  markNotificationsRead,
  markRead,
  markUnread,
  putSummary,
  RealtimeClient,
  updateComment,
  updateDiscussion,
  type ApiConfig,
  type CommentPage,
  type CommentTree,
  type DiscussionPage,
  type Event,
  type SummarySnapshot,
} from "../../src/index.js";
import { isFollowUnknown } from "../../src/core/reducers/follows.js";
import { isIncomplete, unreadCountOf } from "../../src/core/reducers/notifications.js";
import { isUnknown } from "../../src/core/reducers/unread.js";
import { Server, until } from "../support/server.js";

const ARTICLE = 1;
const OPEN_METHODS = 1;
const BLIND_REVIEW = 3;
const [ADA, EMMY, ALAN] = [1, 3, 4];

let server: Server;
const people: ApiConfig[] = [];

beforeAll(async () => {
  server = await Server.create({ POLL_TIMEOUT_SECONDS: "5" });
  for (const user of [ADA, EMMY, ALAN]) people.push({ baseUrl: server.url, token: await server.token(user) });
});
afterAll(() => server.close());

const action = fc.record({
  kind: fc.nat({ max: 17 }),
  who: fc.nat({ max: 2 }),
  pick: fc.nat(),
  text: fc.string({ minLength: 1, maxLength: 12 }),
});
type Action = { kind: number; who: number; pick: number; text: string };

/** These refusals may happen in any history: another's comment, a tombstone, a fourth level, blank text. */
async function allowRefusal(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (!isApiError(error) || error.status >= 500) throw error;
  });
}

const levels = ["follow", "mute", "default"] as const;

async function perform(discussion: number, { kind, who, pick, text: words }: Action, community: number): Promise<void> {
  const text = pick % 2 === 0 ? `${words} @${["ada", "emmy", "alan"][pick % 3]}` : words;
  const level = levels[pick % 3] ?? "follow";
  const as = callOptions(people[who] as ApiConfig);
  const ids: number[] = [];
  const collect = (trees: CommentTree[]) => trees.forEach((tree) => (ids.push(tree.id), collect(tree.replies)));
  collect((await listComments(discussion, { limit: 100 }, as)).comments);
  const id = ids[pick % Math.max(1, ids.length)] ?? 0;
  if (kind === 0) await allowRefusal(createDiscussion(ARTICLE, { community_id: community, topic: text, text }, as));
  else if (kind === 1)
    await allowRefusal(updateDiscussion(discussion, { topic: text, is_resolved: pick % 2 === 0 }, as));
  else if (kind === 2) await allowRefusal(createComment(discussion, { text }, as));
  else if (kind < 6) await allowRefusal(createComment(discussion, { text, parent_id: id || null }, as));
  else if (kind === 6) await allowRefusal(updateComment(id, { text }, as));
  else if (kind === 7) await allowRefusal(deleteComment(id, as));
  else if (kind === 8) await allowRefusal(markRead(discussion, { comment_ids: [id, id + 1] }, as));
  else if (kind === 9)
    await allowRefusal(markRead(discussion, { discussion: pick % 2 === 0, up_to_comment_id: id || null }, as));
  else if (kind === 10) await allowRefusal(markUnread(discussion, { from_comment_id: id || null }, as));
  else if (kind === 11) await allowRefusal(markArticleRead(ARTICLE, { community_id: community }, as));
  else if (kind === 12) await allowRefusal(followDiscussion(discussion, { level }, as));
  else if (kind === 13) await allowRefusal(followArticle(ARTICLE, { community_id: community, level }, as));
  else if (kind === 14) await allowRefusal(deleteSummary(ARTICLE, { community_id: community }, as));
  else if (kind < 17) await allowRefusal(putSummary(ARTICLE, { text: words }, { community_id: community }, as));
  else {
    const { notifications } = await listNotifications({ limit: 5 }, as);
    const one = notifications[pick % Math.max(1, notifications.length)]?.id ?? 1;
    await markNotificationsRead(pick % 2 === 0 ? { ids: [one] } : { up_to_id: one }, as);
  }
}

/** The events that polls deliver after a cursor. */
async function follow(
  config: ApiConfig,
  user: number,
  cursor: number,
): Promise<{ events: Event[]; client: RealtimeClient }> {
  const events: Event[] = [];
  const client = new RealtimeClient({ config, user, initialCursor: () => cursor });
  client.onChange((change) => void events.push(...change.events));
  client.start();
  await until("live", () => client.status.state === "live");
  return { events, client };
}

test.each([
  ["a public community", OPEN_METHODS],
  ["a community with pseudonyms", BLIND_REVIEW],
])("the law of events holds against the real server, in %s", async (_, community) => {
  const reader = people[0] as ApiConfig;
  const as = callOptions(reader);
  const scope = { articleId: ARTICLE, communityId: community };
  const list = { community_id: community, limit: 100 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { maxLength: 8 }),
      fc.array(action, { minLength: 1, maxLength: 16 }),
      async (before, after) => {
        const { id } = await createDiscussion(
          ARTICLE,
          { community_id: community, topic: "A history", text: "begins" },
          as,
        );
        for (const one of before) await perform(id, one, community);
        let discussions: readonly DiscussionPage[] = [await listDiscussions(ARTICLE, list, as)];
        let comments: readonly CommentPage[] = [await listComments(id, { limit: 100 }, as)];
        let inbox: readonly Awaited<ReturnType<typeof listNotifications>>[] = [
          await listNotifications({ limit: 100 }, as),
        ];
        const readSummary = () => getSummary(ARTICLE, { community_id: community }, as).catch(() => null);
        const viewer = discussions[0]?.viewer ?? null;
        let summary: SummarySnapshot = { summary: await readSummary(), viewer, last_event_id: 0 };
        const start = Math.min(...[discussions, comments, inbox].map(([page]) => page?.last_event_id ?? 0));
        const { events, client } = await follow(reader, ADA, start);
        // Some changes happen at the same time.
        for (let at = 0; at < after.length; at += 3)
          await Promise.all(after.slice(at, at + 3).map((one) => perform(id, one, community)));
        if (after.length % 5 === 0) await allowRefusal(deleteDiscussion(id, as));
        // A snapshot may show changes without an event_id. When the last change is delivered, all earlier ones have theirs.
        const last = await createDiscussion(
          ARTICLE,
          { community_id: community, topic: "The last", text: "change" },
          as,
        );
        await until("everything is delivered", () =>
          events.some((event) => event.type === "new_discussion" && event.discussion_id === last.id),
        );
        const freshList = await listDiscussions(ARTICLE, list, as);
        const freshComments = await listComments(id, { limit: 100 }, as);
        const freshSummary = await readSummary();
        const freshInbox = await listNotifications({ limit: 100 }, as);
        client.close();

        for (const event of events) {
          discussions = foldDiscussions(discussions, scope, event);
          summary = foldSummary(summary, scope, event);
          const folded = foldComments(comments, id, event);
          if (folded.kind === "refetch") throw new Error(`a refetch for ${JSON.stringify(event)}`);
          comments = folded.value;
          const next = foldNotifications(inbox, {}, event, ADA);
          // What an event does not say is read again.
          inbox = next.kind === "refetch" ? [freshInbox] : next.value;
        }
        const all = inbox.flatMap((page) => page.notifications).slice(0, freshInbox.notifications.length);
        const isOpen = (at: number) => all[at] !== undefined && isIncomplete(all[at]);
        expect(all).toEqual(
          freshInbox.notifications.map((one, at) =>
            isOpen(at) ? { ...one, topic: null, excerpt: null, actor: null, is_incomplete: true } : one,
          ),
        );
        expect(unreadCountOf(inbox)).toBe(freshInbox.unread_count);
        expect(summary.summary).toEqual(freshSummary);
        const shown = discussions.flatMap((page) => page.discussions).slice(0, freshList.discussions.length);
        // Some events leave a count unknown, or what is followed.
        const expected = freshList.discussions.map((one, at) => ({
          ...one,
          ...(shown[at] && isUnknown(shown[at]) && { unread_count: null, first_unread_comment_id: null }),
          ...(shown[at] && isFollowUnknown(shown[at]) && { is_followed: null }),
          ...(shown[at]?.has_written === null && { has_written: null }),
        }));
        expect(shown).toEqual(expected);
        expect(comments.flatMap((page) => page.comments)).toEqual(freshComments.comments);
        expect(events.map((event) => event.event_id)).toEqual(
          [...new Set(events.map((event) => event.event_id))].sort((a, b) => a - b),
        );
      },
    ),
    // Shrinking is off, because each run adds to the same database.
    { numRuns: 12, endOnFailure: true },
  );
});

test("two attempts with one Idempotency-Key make one comment", async () => {
  const as = callOptions(people[0] as ApiConfig, { headers: { "Idempotency-Key": crypto.randomUUID() } });
  const first = await createComment(1, { text: "Once." }, as);
  const again = await createComment(1, { text: "Once." }, as);
  expect(again).toEqual(first);
  const { comments } = await listComments(1, { limit: 100 }, as);
  expect(comments.filter((comment) => comment.text === "Once.")).toHaveLength(1);
});

test("after a crash of the server the client registers again, and no event is missed or doubled", async () => {
  const reader = people[0] as ApiConfig;
  const as = callOptions(reader);
  // Events of other tests may still be on their way.
  const { id } = await createDiscussion(ARTICLE, { community_id: OPEN_METHODS, topic: "A crash", text: "comes" }, as);
  const { last_event_id } = await listComments(id, {}, as);
  const { events, client } = await follow(reader, ADA, last_event_id);
  const comments = () =>
    events.flatMap((event) => (event.type === "new_comment" && event.discussion_id === id ? [event.text] : []));
  await createComment(id, { text: "Before the crash." }, as);
  await server.kill();
  await until("it is noticed", () => client.status.state === "stale");
  await server.start();
  await createComment(id, { text: "After the crash." }, as);
  await until("both are here", () => comments().includes("After the crash."));
  expect(comments()).toEqual(["Before the crash.", "After the crash."]);
  client.close();
});

test("a client that lost its membership gets that event, and no more events of that community", async () => {
  const emmy = people[1] as ApiConfig;
  const { last_event_id } = await listDiscussions(ARTICLE, {}, callOptions(emmy));
  const { events, client } = await follow(emmy, EMMY, last_event_id);
  await server.membership(EMMY, OPEN_METHODS, null);
  await until("she is told", () => events.some((event) => event.type === "membership_changed" && event.role === null));
  await createComment(1, { text: "Not for her." }, callOptions(people[0] as ApiConfig));
  await createDiscussion(
    ARTICLE,
    { community_id: BLIND_REVIEW, topic: "For her", text: "still" },
    callOptions(people[0] as ApiConfig),
  );
  await until("the other community goes on", () => events.some((event) => event.type === "new_discussion"));
  expect(events.filter((event) => event.type === "new_comment")).toEqual([]);
  client.close();
});

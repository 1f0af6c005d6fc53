import { afterAll, beforeAll, expect, test } from "vitest";
import * as today from "../../src/index.js";
import type { RequestOptions } from "../last-release/77d4012/api/request.js";
import * as old from "../last-release/77d4012/generated/api.js";
import { foldComments } from "../last-release/77d4012/reducers/comments.js";
import { foldDiscussions } from "../last-release/77d4012/reducers/discussions.js";
import { Server } from "../support/server.js";

const ARTICLE = 1;
const OPEN_METHODS = 1;
const [ADA, GRACE] = [1, 2];

let server: Server;
let ada: today.ApiConfig;
let grace: today.ApiConfig;

beforeAll(async () => {
  server = await Server.create({});
  ada = { baseUrl: server.url, token: await server.token(ADA) };
  grace = { baseUrl: server.url, token: await server.token(GRACE) };
});
afterAll(() => server.close());

/** What the old client knows of a discussion. */
function known(one: old.Discussion): old.Discussion {
  const { id, community_id, article_id, topic, text, author, is_resolved, comment_count } = one;
  const { created_at, updated_at, deleted_at } = one;
  const words = { topic, text, author, is_resolved, comment_count };
  return { id, community_id, article_id, ...words, created_at, updated_at, deleted_at };
}

/** What it knows of a comment. */
function knownTree(tree: old.CommentTree): old.CommentTree {
  const { id, discussion_id, parent_id, depth, text, author, created_at, updated_at, deleted_at } = tree;
  const replies = tree.replies.map(knownTree);
  return { id, discussion_id, parent_id, depth, text, author, created_at, updated_at, deleted_at, replies };
}

/** All events after a cursor, up to the first that is `last`. The server may still have to number it. */
async function eventsAfter(
  queue: old.Registration,
  cursor: number,
  as: RequestOptions,
  last: (event: old.Event) => boolean,
): Promise<old.Event[]> {
  const events: old.Event[] = [];
  for (let at = cursor; !events.some(last);) {
    const answer = await old.poll({ queue_id: queue.queue_id, last_event_id: at, timeout: 5 }, as);
    if (!("events" in answer)) throw new Error(JSON.stringify(answer));
    events.push(...answer.events);
    at = answer.last_event_id;
  }
  return events;
}

test("the client of an earlier release follows what people do with today's", async () => {
  const as: RequestOptions = { config: ada };
  const asGrace = today.callOptions(grace);
  // What the old client writes.
  const mine = await old.createDiscussion(
    ARTICLE,
    { community_id: OPEN_METHODS, topic: "From an old page", text: "Is it still read?" },
    as,
  );
  const first = await old.createComment(mine.id, { text: "First" }, as);
  const second = await old.createComment(mine.id, { text: "Second", parent_id: first.id }, as);
  const queue = await old.register(as);
  const scope = { articleId: ARTICLE, communityId: OPEN_METHODS };
  let discussions: readonly old.DiscussionPage[] = [
    await old.listDiscussions(ARTICLE, { community_id: OPEN_METHODS, limit: 100 }, as),
  ];
  let comments: readonly old.CommentPage[] = [await old.listComments(mine.id, { limit: 100 }, as)];
  const start = Math.min(queue.last_event_id, discussions[0]?.last_event_id ?? 0, comments[0]?.last_event_id ?? 0);

  // What others do with today's client, and Ada in another tab.
  const reply = await today.createComment(mine.id, { text: "I read it", parent_id: first.id }, asGrace);
  await today.voteOnComment(first.id, { value: 1 }, asGrace);
  await today.voteOnDiscussion(mine.id, { value: -1 }, asGrace);
  await today.markRead(mine.id, { discussion: true, comment_ids: [first.id, second.id] }, asGrace);
  const asAda = today.callOptions(ada);
  await today.voteOnComment(reply.id, { value: 1 }, asAda);
  await today.markRead(mine.id, { up_to_comment_id: reply.id }, asAda);
  await today.markUnread(mine.id, {}, asAda);
  await today.updateComment(reply.id, { text: "I read it twice" }, asGrace);
  const gone = await today.createComment(mine.id, { text: "Not meant" }, asGrace);
  await today.deleteComment(gone.id, asGrace);
  await old.updateDiscussion(mine.id, { is_resolved: true }, as);
  await old.updateComment(second.id, { text: "Second, edited" }, as);
  await old.deleteComment(second.id, as);
  const last = await old.createDiscussion(ARTICLE, { community_id: OPEN_METHODS, topic: "Last", text: "one" }, as);
  await old.deleteDiscussion(last.id, as);

  const isLast = (event: old.Event) => event.type === "deleted_discussion" && event.discussion_id === last.id;
  const events = await eventsAfter(queue, start, as, isLast);
  const types = new Set<string>(events.map(({ type }) => type));
  for (const unknown of ["votes_changed", "own_vote_changed", "read_state_changed"]) expect(types).toContain(unknown);
  for (const event of events) {
    discussions = foldDiscussions(discussions, scope, event);
    const folded = foldComments(comments, mine.id, event);
    if (folded.kind === "refetch") throw new Error(`a refetch for ${JSON.stringify(event)}`);
    comments = folded.value;
  }
  const freshList = await old.listDiscussions(ARTICLE, { community_id: OPEN_METHODS, limit: 100 }, as);
  const fresh = await old.listComments(mine.id, { limit: 100 }, as);
  expect(discussions.flatMap((page) => page.discussions.map(known))).toEqual(freshList.discussions.map(known));
  expect(comments.flatMap((page) => page.comments.map(knownTree))).toEqual(fresh.comments.map(knownTree));
  expect(fresh.comments[0]?.replies.map(({ text }) => text)).toEqual([null, "I read it twice"]);
});

// @vitest-environment happy-dom
import { QueryClient, QueryClientProvider, dehydrate, hydrate, notifyManager } from "@tanstack/react-query";
import { act, StrictMode, useEffect } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  RealtimeProvider,
  useComments,
  useDiscussions,
  useRealtimeStatus,
  type CommentItem,
} from "../../src/react/index.js";
import { commentsQuery, discussionsQuery } from "../../src/server.js";
import { FakeBrowser, settle } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { ARTICLE, coded, COMMUNITY } from "../support/model.js";

(globalThis as never as { IS_REACT_ACT_ENVIRONMENT: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

// By default TanStack Query notifies by a timer, for which `settle` cannot wait.
notifyManager.setScheduler(queueMicrotask);

const ada = { id: 1, username: "ada", avatar_url: null };
const grace = { id: 2, username: "grace", avatar_url: null };
let server: FakeServer;
let browser: FakeBrowser;
let root: Root;
let queryClient: QueryClient;
let thread: ReturnType<typeof useComments>;
let list: ReturnType<typeof useDiscussions>;
let status: string;
/** Every state that React committed to the screen. */
let frames: CommentItem[][];

function Probe() {
  list = useDiscussions(ARTICLE, { communityId: COMMUNITY });
  thread = useComments(1);
  status = useRealtimeStatus().state;
  useEffect(() => {
    frames.push(thread.comments);
  });
  return null;
}

beforeEach(() => {
  server = new FakeServer();
  browser = new FakeBrowser();
  queryClient = new QueryClient();
  root = createRoot(document.createElement("div"));
  frames = [];
  server.model.createDiscussion("topic", "text", grace);
  server.model.createComment(1, null, "first", grace);
});

afterEach(async () => {
  await act(async () => root.unmount());
  await act(settle);
  expect(server.parked).toEqual([]);
  expect(browser.timers.waiting.size).toBe(0);
  queryClient.clear();
});

async function mount(user: number | null = 1): Promise<void> {
  const options = { environment: browser.tab().environment() };
  await act(async () =>
    root.render(
      <StrictMode>
        <QueryClientProvider client={queryClient}>
          <RealtimeProvider
            config={{ fetch: server.fetch, token: user === null ? null : `user-${user}` }}
            user={user}
            options={options}
          >
            <Probe />
          </RealtimeProvider>
        </QueryClientProvider>
      </StrictMode>,
    ),
  );
  await act(settle);
}

const settled = () => act(settle);
const texts = (comments: CommentItem[] = thread.comments): unknown[] =>
  comments.map((comment) => (comment.replies.length > 0 ? [comment.text, ...texts(comment.replies)] : comment.text));

test("shows the lists and keeps them live", async () => {
  await mount();
  expect(status).toBe("live");
  expect(texts()).toEqual(["first"]);
  server.model.createComment(1, 1, "reply", grace);
  server.deliver();
  await settled();
  expect(texts()).toEqual([["first", "reply"]]);
  expect(list.discussions.map((one) => one.comment_count)).toEqual([2]);
  expect(server.count(/comments$/, "GET")).toBe(1);
});

test("an own comment is shown at once and only once, whether the event or the answer comes first", async () => {
  await mount();
  for (const eventFirst of [true, false]) {
    let answer = () => {};
    server.writesAfter = new Promise((resolve) => (answer = resolve));
    frames = [];
    const text = eventFirst ? "event first" : "answer first";
    let sent: Promise<unknown> = Promise.resolve();
    await act(async () => {
      sent = thread.create({ text });
      await settle();
    });
    if (eventFirst) {
      await act(async () => {
        server.deliver();
        await settle();
      });
      answer();
    } else {
      answer();
      await settled();
      server.deliver();
    }
    await act(() => sent.then(settle));
    const rows = frames.map((frame) => frame.filter((comment) => comment.text === text));
    const shown = rows.slice(rows.findIndex((row) => row.length > 0));
    expect(shown.every((row) => row.length === 1)).toBe(true);
    // It stays the same element from the click on.
    expect(new Set(shown.map(([comment]) => comment?.key)).size).toBe(1);
    expect(thread.comments.at(-1)).toMatchObject({ text, pending: false, mine: true });
    expect(thread.comments.at(-1)?.id).toBeGreaterThan(0);
  }
});

test("sending the same text again makes another comment", async () => {
  await mount();
  await act(async () => {
    await Promise.all([thread.create({ text: "again" }), thread.create({ text: "again" })]);
    server.deliver();
    await settle();
  });
  expect(texts()).toEqual(["first", "again", "again"]);
  expect(server.model.comments).toHaveLength(3);
});

test("edits and deletions are shown at once, and undone when the server refuses", async () => {
  server.model.createComment(1, null, "mine", ada);
  await mount();
  let edited: Promise<unknown> = Promise.resolve();
  await act(async () => {
    edited = thread.update(2, "mine, better");
  });
  expect(texts()).toEqual(["first", "mine, better"]);
  await act(() => edited.then(() => (server.deliver(), settle())));
  expect(texts()).toEqual(["first", "mine, better"]);

  server.trouble = (path, method) => (method === "DELETE" ? coded(403, "not_allowed") : undefined);
  await act(async () => {
    await expect(thread.remove(2)).rejects.toMatchObject({ code: "not_allowed" });
    await settle();
  });
  expect(texts()).toEqual(["first", "mine, better"]);
  server.trouble = undefined;
  await act(async () => {
    await thread.remove(2);
    server.deliver();
    await settle();
  });
  expect(texts()).toEqual(["first", null]);
});

test("a failed comment stays, and is sent again with the same Idempotency-Key", async () => {
  await mount();
  server.trouble = (path, method) =>
    method === "POST" && path.endsWith("/comments") ? coded(422, "invalid_fields") : undefined;
  await act(async () => {
    await expect(thread.create({ text: "kept" })).rejects.toMatchObject({ code: "invalid_fields" });
    await settle();
  });
  const failed = thread.comments.at(-1);
  expect(failed).toMatchObject({ text: "kept", pending: false, error: { code: "invalid_fields" } });
  server.trouble = undefined;
  await act(async () => {
    await thread.retry(failed?.key ?? "");
    server.deliver();
    await settle();
  });
  expect(texts()).toEqual(["first", "kept"]);
  const keys = server.requests
    .filter((one) => one.method === "POST" && one.path.endsWith("/comments"))
    .map((one) => one.headers.get("idempotency-key"));
  expect(keys).toEqual([failed?.key, failed?.key]);
});

test("a snapshot that arrives after newer events gets these events", async () => {
  let land = () => {};
  const held = new Promise<void>((resolve) => (land = resolve));
  await mount();
  const slow = server.fetch;
  const late: typeof fetch = async (input, init) => {
    const response = await slow(input, init);
    if (String(input).includes("/comments")) await held;
    return response;
  };
  let refetched: Promise<unknown> = Promise.resolve();
  await act(async () => {
    const options = commentsQuery(1, { config: { fetch: late }, user: 1 });
    refetched = queryClient.fetchInfiniteQuery({ ...options, staleTime: 0 });
    await settle();
  });
  server.model.createComment(1, null, "in between", grace);
  server.deliver();
  await settled();
  expect(texts()).toEqual(["first", "in between"]);
  land();
  await act(() => refetched.then(settle));
  expect(texts()).toEqual(["first", "in between"]);
});

test("a hydrated snapshot continues from its own last_event_id, without a fetch", async () => {
  const onServer = new QueryClient();
  const context = { config: { fetch: server.fetch }, user: 1 };
  await onServer.prefetchInfiniteQuery(discussionsQuery({ articleId: ARTICLE, communityId: COMMUNITY }, context));
  await onServer.prefetchInfiniteQuery(commentsQuery(1, context));
  server.model.createComment(1, null, "after the page was rendered", grace);
  hydrate(queryClient, JSON.parse(JSON.stringify(dehydrate(onServer))));
  server.requests.length = 0;
  await mount();
  expect(texts()).toEqual(["first", "after the page was rendered"]);
  expect(server.count(/comments$|discussions$/, "GET")).toBe(0);
});

test("a removed member sees why, and no longer sees what they may not read", async () => {
  await mount();
  server.trouble = (path, method) =>
    method === "GET" && /comments$|discussions$/.test(path) ? coded(403, "not_a_member") : undefined;
  server.model.membership(1, null);
  server.deliver();
  await settled();
  expect(thread.access).toMatchObject({ state: "removed", communityId: COMMUNITY });
  expect(list.access).toMatchObject({ state: "removed" });
  expect(texts()).toEqual([]);
  server.trouble = undefined;
  server.model.membership(1, "member");
  server.deliver();
  await settled();
  expect(thread.access).toEqual({ state: "granted" });
  expect(texts()).toEqual(["first"]);
});

test("another user starts with an empty cache and a new connection", async () => {
  await mount(1);
  await mount(2);
  expect(
    queryClient
      .getQueryCache()
      .getAll()
      .every((query) => query.queryKey[1] === 2),
  ).toBe(true);
  expect(server.queues.size).toBe(1);
  await mount(null);
  expect(status).toBe("signed_out");
  expect(server.queues.size).toBe(0);
});

test("after a leap of the numbering everything is fetched again, and cursors beyond 2^32 stay exact", async () => {
  await mount();
  for (const times of [1, 2, 2 ** 20]) {
    server.model.createComment(1, null, `lost ${times}`, grace);
    server.deliver();
    await settled();
    // The restored database lacks the last comment, and its numbering continues far ahead.
    server.model.comments.pop();
    Object.assign(server.model.discussions[0] ?? {}, { comment_count: server.model.comments.length });
    server.model.base += 2 ** 32 * (times - 1);
    server.model.leap();
    server.model.createComment(1, null, `after leap ${times}`, grace);
    server.deliver();
    await settled();
    expect(status).toBe("live");
    expect(texts()).toEqual(server.model.comments.map((comment) => comment.text));
    server.model.createComment(1, null, `and live again ${times}`, grace);
    server.deliver();
    await settled();
    expect(texts()).toEqual(server.model.comments.map((comment) => comment.text));
    expect(list.discussions[0]?.comment_count).toBe(server.model.discussions[0]?.comment_count);
  }
  expect(server.model.head).toBeGreaterThan(2 ** 52);
  expect(Number.isSafeInteger(server.model.head)).toBe(true);
});

test("an author's new name shows in lists and threads, and an event of an unknown type changes nothing", async () => {
  await mount();
  server.model.changeAuthor({ ...grace, username: "grace hopper" });
  server.deliver();
  await settled();
  expect(list.discussions[0]?.author?.username).toBe("grace hopper");
  expect(thread.comments[0]?.author?.username).toBe("grace hopper");
  const before = [list.discussions, thread.comments];
  server.model.events.push({
    type: "made_up",
    event_id: server.model.head + 1,
    community_id: COMMUNITY,
    article_id: ARTICLE,
    discussion_id: 1,
  } as never);
  server.deliver();
  await settled();
  expect([list.discussions, thread.comments]).toEqual(before);
  expect(server.count(/comments$/, "GET")).toBe(1);
});

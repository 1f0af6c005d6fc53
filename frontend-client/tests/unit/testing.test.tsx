// @vitest-environment happy-dom
import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, test } from "vitest";
import type { Discussion, Event } from "../../src/index.js";
import {
  useComments,
  useDiscussions,
  useFollow,
  useNotifications,
  useRealtimeStatus,
  useSummary,
  useUnread,
  useWatch,
} from "../../src/react/index.js";
import { createTestProvider } from "../../src/testing.js";
import { settle } from "../support/fake-environment.js";
import { Model } from "../support/model.js";
import "../support/react.js";

const grace = { id: 2, username: "grace", avatar_url: null };

test("an application tests its components with createTestProvider: data, events, writes and refusals", async () => {
  const model = new Model();
  const discussion: Discussion = model.createDiscussion("topic", "text", grace);
  model.createComment(1, null, "first", grace);
  const { comments } = model.commentPage(1, null, 10);
  const { Provider, calls, emit } = createTestProvider({
    discussions: [discussion],
    comments,
    answer: ({ method, path, body }) =>
      method === "PATCH" && path === "/discussions/1"
        ? { ...discussion, ...(body as object), updated_at: "2027-01-01T00:00:00Z" }
        : undefined,
  });
  let list!: ReturnType<typeof useDiscussions>;
  let thread!: ReturnType<typeof useComments>;
  let status = "";
  function Page() {
    list = useDiscussions(1, { communityId: 7 });
    thread = useComments(1);
    status = useRealtimeStatus().state;
    return null;
  }
  const root = createRoot(document.createElement("div"));
  await act(async () =>
    root.render(
      <Provider>
        <Page />
      </Provider>,
    ),
  );
  await act(settle);
  expect([status, list.isLive, thread.isLive]).toEqual(["live", true, true]);
  expect(list.discussions.map(({ topic }) => topic)).toEqual(["topic"]);
  expect(thread.comments.map(({ text }) => text)).toEqual(["first"]);
  model.updateComment(1, "edited");
  await act(async () => emit(model.events[2] as Event));
  await act(settle);
  expect(thread.comments.map(({ text }) => text)).toEqual(["edited"]);
  await act(async () => void (await list.update(1, { is_resolved: true })));
  expect(list.discussions[0]?.is_resolved).toBe(true);
  await act(async () => expect(thread.create({ text: "refused" })).rejects.toMatchObject({ code: "not_found" }));
  expect(calls.filter(({ method }) => method !== "GET")).toEqual([
    { method: "PATCH", path: "/discussions/1", body: { is_resolved: true } },
    { method: "POST", path: "/discussions/1/comments", body: { text: "refused" } },
  ]);
  await act(async () => root.unmount());
  await act(settle);
});

test("createTestProvider has what is unread in the data", async () => {
  const model = new Model();
  model.createDiscussion("topic", "text", grace);
  model.createDiscussion("another", "text", grace);
  model.createComment(1, null, "first", grace);
  const { Provider, calls, emit } = createTestProvider({
    discussions: model.discussionPage(null, 10).discussions,
    comments: model.commentPage(1, null, 10).comments,
    answer: ({ method }) => (method === "POST" ? {} : undefined),
  });
  let thread!: ReturnType<typeof useComments>;
  let unread!: ReturnType<typeof useUnread>;
  function Page() {
    thread = useComments(1);
    unread = useUnread({ articleId: 1 });
    return null;
  }
  const root = createRoot(document.createElement("div"));
  await act(async () =>
    root.render(
      <Provider>
        <Page />
      </Provider>,
    ),
  );
  await act(settle);
  expect(unread.totals).toEqual({ discussions: 2, comments: 1 });
  expect(unread.discussions.map(({ topic }) => topic)).toEqual(["another", "topic"]);
  await act(() => thread.markRead());
  expect([thread.comments[0]?.is_unread, unread.totals]).toEqual([false, { discussions: 1, comments: 0 }]);
  model.markRead(1, { discussion: true, up_to_comment_id: 1 });
  await act(async () => emit(model.events.at(-1) as Event));
  await act(settle);
  expect([thread.comments[0]?.is_unread, unread.totals]).toEqual([false, { discussions: 1, comments: 0 }]);
  expect(calls.filter(({ method }) => method !== "GET")).toEqual([
    { method: "POST", path: "/discussions/1/read", body: { discussion: true, comment_ids: [1] } },
  ]);
  await act(async () => root.unmount());
  await act(settle);
});

test("createTestProvider has notifications and people to mention, and its events bring others", async () => {
  const model = new Model();
  model.createDiscussion("topic", "text", { id: 1, username: "ada", avatar_url: null });
  model.createComment(1, null, "one", grace);
  const { Provider, calls, emit } = createTestProvider({
    notifications: model.notificationPage(null, 10).notifications,
  });
  let inbox!: ReturnType<typeof useNotifications>;
  let follow!: ReturnType<typeof useFollow>;
  function Page() {
    inbox = useNotifications();
    follow = useFollow({ articleId: 1, communityId: 7 });
    useWatch([7]);
    return null;
  }
  const root = createRoot(document.createElement("div"));
  await act(async () =>
    root.render(
      <Provider>
        <Page />
      </Provider>,
    ),
  );
  await act(settle);
  expect([inbox.unreadCount, inbox.notifications[0]?.excerpt, follow.level]).toEqual([1, "one", "default"]);
  model.createComment(1, null, "two", grace);
  await act(async () => emit(model.events.at(-1) as Event));
  await act(settle);
  expect([inbox.unreadCount, inbox.notifications[0]?.excerpt]).toEqual([2, "two"]);
  await act(async () => follow.mute());
  await act(settle);
  expect([follow.level, follow.error]).toMatchObject(["default", { code: "not_found" }]);
  expect(calls.filter(({ method }) => method === "PUT")).toEqual([
    { method: "PUT", path: "/articles/1/follow", body: { community_id: 7, level: "mute" } },
  ]);
  await act(async () => root.unmount());
  await act(settle);
});

test("an application tests its component of a summary, as an admin", async () => {
  const model = new Model();
  const summary = model.writeSummary("In short", grace);
  const { Provider, calls, emit } = createTestProvider({
    summaries: [summary],
    role: "admin",
    answer: ({ method, body }) =>
      method === "PUT" ? { ...summary, text: (body as { text: string }).text, revision: 2 } : undefined,
  });
  let one!: ReturnType<typeof useSummary>;
  function Page() {
    one = useSummary(1, 7);
    return null;
  }
  const root = createRoot(document.createElement("div"));
  await act(async () =>
    root.render(
      <Provider>
        <Page />
      </Provider>,
    ),
  );
  await act(settle);
  expect([one.text, one.canEdit, one.isLive]).toEqual(["In short", true, true]);
  await act(async () => void (await one.save("In fewer words")));
  expect(calls.at(-1)?.path).toBe("/articles/1/summary?community_id=7");
  expect([one.text, one.summary?.pending]).toEqual(["In fewer words", false]);
  await act(async () => emit({ ...(model.events[0] as Event), ...{ text: null, author: null, revision: 3 } } as Event));
  await act(settle);
  expect([one.text, one.summary]).toEqual([null, null]);
  await act(async () => root.unmount());
});

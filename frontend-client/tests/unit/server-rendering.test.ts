import { QueryClient } from "@tanstack/react-query";
import { afterEach, expect, test, vi } from "vitest";
import type { ApiConfig } from "../../src/index.js";
import { commentsQuery, discussionQuery, discussionsQuery } from "../../src/server.js";
import { FakeServer } from "../support/fake-server.js";

const ada = { id: 1, username: "ada", avatar_url: null };

afterEach(() => vi.useRealTimers());

const all = (config: ApiConfig) => {
  const context = { config, user: 1 };
  return [discussionsQuery({ articleId: 1 }, context), commentsQuery(1, context), discussionQuery(1, context)];
};

test("with the server down a page is rendered at once, without retries", async () => {
  let calls = 0;
  const fetch = () => {
    calls += 1;
    return Promise.reject(new TypeError("fetch failed"));
  };
  const client = new QueryClient();
  await Promise.all(
    all({ fetch }).map((query) => client.prefetchInfiniteQuery(query as ReturnType<typeof commentsQuery>)),
  );
  expect(calls).toBe(3);
});

test("a server or a token function that never answers delays a page by three seconds, or by timeoutMs", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const hangs: typeof fetch = (_, init) =>
    new Promise((_resolve, reject) =>
      init?.signal?.addEventListener("abort", () => reject(init.signal?.reason as Error)),
    );
  const token = () => new Promise<string>(() => undefined);
  const cases: [ApiConfig, number][] = [
    [{ fetch: hangs }, 3_000],
    [{ fetch: hangs, timeoutMs: 500 }, 500],
    [{ fetch: hangs, token }, 3_000],
  ];
  for (const [config, ms] of cases) {
    for (const query of all(config)) {
      let ended = false;
      const context = { pageParam: null, signal: new AbortController().signal };
      const call = query.queryFn(context).then(
        () => undefined,
        () => (ended = true),
      );
      await vi.advanceTimersByTimeAsync(ms - 1);
      expect(ended).toBe(false);
      await vi.advanceTimersByTimeAsync(1);
      await call;
      expect(ended).toBe(true);
    }
  }
});

test("headers of the config go with every call", async () => {
  const server = new FakeServer();
  server.model.createDiscussion("topic", "text", ada);
  const config = { fetch: server.fetch, token: "user-1", headers: { Cookie: "session=1" } };
  for (const query of all(config)) await query.queryFn({ pageParam: null, signal: new AbortController().signal });
  expect(server.requests.map((request) => request.headers.get("cookie"))).toEqual(Array(4).fill("session=1"));
});

import { QueryClient } from "@tanstack/react-query";
import { expect, test, vi } from "vitest";
import { commentsQuery } from "../../src/server.js";
import { CacheSync } from "../../src/core/cache/sync.js";
import { EventLog } from "../../src/core/live/log.js";
import { Model } from "../support/model.js";

const grace = { id: 2, username: "grace", avatar_url: null };
const viewer = { user_id: 1, memberships: [] };
const COMMENTS = 5_000;
/** The goal of one arrival on a page is 16 ms, with its rendering. */
const BUDGET_MS = 4;

// The model takes some seconds on a machine that builds something else meanwhile.
vi.setConfig({ testTimeout: 30_000 });

test("an arrival costs little in a thread of 5,000 comments, and nothing in another thread", () => {
  const model = new Model();
  model.createDiscussion("this", "text", grace);
  model.createDiscussion("another", "text", grace);
  for (let count = 0; count < COMMENTS; count += 1) model.createComment(1, null, `comment ${count}`, grace);
  const comments = model.commentPage(1, null, COMMENTS).comments;
  const pages = Array.from({ length: 50 }, (_, at) => ({
    comments: comments.slice(at * 100, (at + 1) * 100),
    continues: false,
    last_event_id: model.head,
    previous_cursor: at === 0 ? null : `before-${at * 100 + 1}-${at * 100 + 1}`,
    next_cursor: at === 49 ? null : String((at + 1) * 100),
    viewer,
  }));
  const client = new QueryClient();
  const { queryKey } = commentsQuery(1, { config: {}, user: 1 });
  client.setQueryData(queryKey, { pages, pageParams: pages.map(() => null) });
  const log = new EventLog();
  log.reset(model.head);
  const sync = new CacheSync(client, 1, log);
  const arrive = (discussion: number) => {
    const from = model.head;
    // A reply to the last comment, for which all pages are searched.
    model.createComment(discussion, discussion === 1 ? COMMENTS : null, "new", grace);
    log.append(from, model.since(from), model.head);
    const start = performance.now();
    sync.syncAll();
    return performance.now() - start;
  };
  const shown = () => client.getQueryData(queryKey)?.pages;
  // Old events wait in the log, because they do not move the cursors of the other pages.
  for (let count = 0; count < 200; count += 1) arrive(1);
  // The fastest of some runs, because other programs slow the others down.
  expect(Math.min(...Array.from({ length: 20 }, () => arrive(1)))).toBeLessThan(BUDGET_MS);
  const before = shown();
  expect(Math.min(...Array.from({ length: 20 }, () => arrive(2)))).toBeLessThan(BUDGET_MS);
  expect(shown()).toBe(before);
  expect(shown()?.at(-1)?.comments.at(-1)?.replies).toHaveLength(220);
  sync.close();
});

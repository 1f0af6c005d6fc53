import { expect, test } from "vitest";
import { firstUnread } from "../../demo/lib/unread.js";
import type { CommentItem } from "../../src/react/index.js";

const item = (id: number, is_unread: boolean, ...replies: CommentItem[]) =>
  ({ id, is_unread, replies }) as unknown as CommentItem;

test("the first unread comment is the first one on the page, or one that is not loaded", () => {
  const thread = [item(1, false, item(4, true)), item(2, true), item(3, false)];
  expect(firstUnread({ first_unread_comment_id: 2 }, thread)).toBe(4);
  expect(firstUnread({ first_unread_comment_id: null }, [item(1, false)])).toBeUndefined();
  expect(firstUnread({ first_unread_comment_id: 9 }, [item(1, false)])).toBe(9);
  // Earlier ones may be missing.
  expect(firstUnread({ first_unread_comment_id: 1 }, [item(5, true)])).toBe(1);
  // What was just read is not unread, although the count does not say so yet.
  expect(firstUnread({ first_unread_comment_id: 1 }, [item(1, false), item(2, true)])).toBe(2);
  const repeated = { ...item(1, true, item(6, true)), is_repeated: true };
  expect(firstUnread({ first_unread_comment_id: 6 }, [repeated])).toBe(6);
});

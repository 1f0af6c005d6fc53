import * as api from "../generated/api.js";
import type { Mark, ReadMark } from "./marks.js";

/** The most ids of a request. */
const MOST_IDS = 1_000;

/** The part of a mark that fits in one request, and the rest. */
export function parts(mark: ReadMark): [ReadMark, ReadMark?] {
  if (mark.ids.length <= MOST_IDS) return [mark];
  const later = { discussion: false, upTo: 0, upToCount: 0, ids: mark.ids.slice(MOST_IDS) };
  return [
    { ...mark, ids: mark.ids.slice(0, MOST_IDS) },
    { ...mark, ...later },
  ];
}

/** Makes the API call of a mark on a discussion. */
export function callMark(discussionId: number, mark: Mark, options: RequestInit): Promise<void> {
  if (mark.kind === "unread")
    return api.markUnread(discussionId, mark.from > 0 ? { from_comment_id: mark.from } : {}, options);
  const { discussion, ids, upTo } = mark;
  const marks = {
    ...(discussion && { discussion }),
    ...(ids.length > 0 && { comment_ids: [...ids] }),
    ...(upTo > 0 && { up_to_comment_id: upTo }),
  };
  return api.markRead(discussionId, marks, options);
}

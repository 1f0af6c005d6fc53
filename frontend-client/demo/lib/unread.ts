import type { CommentItem, DiscussionItem } from "@scicommons/discussions-client/react";

/** The unread comment that a reader meets first. It need not be loaded. */
export function firstUnread(
  { first_unread_comment_id: lowest }: Pick<DiscussionItem, "first_unread_comment_id">,
  comments: readonly CommentItem[],
): number | undefined {
  let first: number | undefined;
  let isLoaded = false;
  const look = (comment: CommentItem) => {
    if (comment.is_unread && !comment.is_repeated) first ??= comment.id;
    isLoaded ||= comment.id === lowest && !comment.is_repeated;
    comment.replies.forEach(look);
  };
  comments.forEach(look);
  // An older server does not say it.
  if (typeof lowest !== "number" || isLoaded) return first;
  return Math.min(lowest, first ?? lowest);
}

"use client";
import { useComments, useMutate, useReadTracking, useUnread } from "@scicommons/discussions-client/react";

export function Unread({ articleId, communityId }: { articleId: number; communityId: number }) {
  const { totals, markArticleRead } = useUnread({ articleId, communityId });
  const read = useMutate(markArticleRead);
  if (totals.discussions === 0) return null;
  return <button onClick={() => read.mutate(articleId, communityId)}>Mark {totals.comments} comments as read</button>;
}

export function ReadThread({ discussionId }: { discussionId: number }) {
  const { comments, markUnread } = useComments(discussionId);
  const observe = useReadTracking(discussionId);
  const unread = useMutate(markUnread);
  return comments.map((one) => (
    <article key={one.key} ref={one.is_unread ? observe(one.id) : undefined}>
      {one.is_unread && <strong>New: </strong>}
      {one.text ?? "Deleted"}
      <button onClick={() => unread.mutate(one.id)}>Mark as unread from here</button>
    </article>
  ));
}

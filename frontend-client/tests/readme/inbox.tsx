"use client";
import { useFollow, useNotifications } from "@scicommons/discussions-client/react";

export function FollowButtons({ discussionId }: { discussionId: number }) {
  const { isFollowed, level, follow, mute, reset, error } = useFollow({ discussionId });
  if (isFollowed === null) return null;
  return (
    <p>
      <button aria-pressed={isFollowed} onClick={isFollowed ? reset : follow}>
        Follow
      </button>
      <button aria-pressed={level === "mute"} onClick={level === "mute" ? reset : mute}>
        Mute
      </button>
      {error && <span role="alert">It was not changed: {error.message}</span>}
    </p>
  );
}

export function Inbox() {
  const { notifications, unreadCount, markRead, markAllRead } = useNotifications();
  return (
    <section aria-label={`Inbox, ${unreadCount} unread`}>
      {unreadCount > 0 && <button onClick={() => void markAllRead()}>Mark all as read</button>}
      {notifications.map((one) => (
        <a
          key={one.id}
          href={`/discussion/${one.discussion_id}#comment-${one.comment_id}`}
          onClick={() => void markRead(one.id)}
        >
          {one.is_read ? "" : "New: "}
          {one.actor?.username} ({one.kind}) in {one.topic}: {one.excerpt}
        </a>
      ))}
    </section>
  );
}

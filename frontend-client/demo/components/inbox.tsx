"use client";
import { explain, type Notification } from "@scicommons/discussions-client";
import { useNotifications } from "@scicommons/discussions-client/react";
import { useRef, useState } from "react";
import { announce } from "../lib/announce";
import type { DemoArticle } from "../lib/demo-api";
import type { Navigation } from "../lib/view";
import { Failure, Notice } from "./notice";
import { Time } from "./time";
import { UnreadDot } from "./unread-dot";

export interface InboxProps {
  articles: readonly DemoArticle[];
  link: Navigation["link"];
  onClose: () => void;
}

const deeds: Record<Notification["kind"], string> = {
  mention: "mentioned you",
  reply: "replied to your comment",
  comment: "commented in your discussion",
  discussion: "began a discussion",
  moderation: "A moderator removed your text",
};

/** What concerns the user: who did what, where and when. Each leads to its text. */
export function Inbox({ articles, link, onClose }: InboxProps) {
  const inbox = useNotifications();
  const { notifications, unreadCount, markRead, markAllRead } = inbox;
  const [failure, setFailure] = useState<string>();
  const title = useRef<HTMLHeadingElement>(null);
  const attempt = (promise: Promise<void>, done?: string) => {
    setFailure(undefined);
    promise.then(
      () => done && announce(done),
      (error: unknown) => setFailure(`It was not marked as read: ${explain(error)}`),
    );
  };
  /** The button that was pressed goes. */
  const toTitle = () => title.current?.focus({ preventScroll: true });
  return (
    <>
      <div className="row">
        <h2 id="inbox-title" ref={title} tabIndex={-1}>
          Inbox
        </h2>
        {unreadCount > 0 && (
          <button
            type="button"
            className="link"
            onClick={() => {
              toTitle();
              attempt(markAllRead(), "All notifications are marked as read");
            }}
          >
            Mark all as read
          </button>
        )}
        <button type="button" className="quiet" onClick={onClose}>
          Close
        </button>
      </div>
      {failure && <Failure text={failure} />}
      {inbox.error && (
        <Notice
          text={`The inbox could not be loaded: ${explain(inbox.error)}`}
          what="inbox"
          onRetry={() => void inbox.refetch()}
        />
      )}
      {inbox.isPending && <p className="muted">Loading…</p>}
      {inbox.isEmpty && (
        <p className="muted">Nothing here yet. Mentions of you, and replies to what you wrote, come here.</p>
      )}
      <ul className="notifications">
        {notifications.map((one) => (
          <Item
            key={one.id}
            notification={one}
            article={articles.find(({ id }) => id === one.article_id)?.title}
            link={link}
            onOpen={() => {
              if (!one.is_read) attempt(markRead(one.id));
              onClose();
            }}
            onRead={() => {
              toTitle();
              attempt(markRead(one.id), "Marked as read");
            }}
          />
        ))}
      </ul>
      {inbox.hasMore && (
        <button type="button" className="quiet" disabled={inbox.isFetchingMore} onClick={() => void inbox.fetchMore()}>
          Show older
        </button>
      )}
    </>
  );
}

interface ItemProps {
  notification: Notification;
  /** The article's title. */
  article: string | undefined;
  link: Navigation["link"];
  onOpen: () => void;
  onRead: () => void;
}

function Item({ notification, article, link, onOpen, onRead }: ItemProps) {
  const { kind, actor, topic, excerpt, reason, is_read, created_at } = notification;
  const { article_id, discussion_id, comment_id } = notification;
  const place = { article: article_id, community: undefined, discussion: discussion_id };
  const { href, onClick } = link({ ...place, comment: comment_id ?? undefined });
  return (
    <li className="notification" data-unread={!is_read || undefined}>
      <a
        href={href}
        onClick={(event) => {
          // Before the page goes there, so that the focus is not returned to the inbox later.
          if (!event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey) onOpen();
          onClick(event);
        }}
      >
        {!is_read && <UnreadDot />}
        <span>
          {actor && <bdi className="name">{actor.username}</bdi>} {deeds[kind]}
        </span>
        <span className="where" dir="auto">
          {topic ?? "Deleted discussion"}
        </span>
        {(excerpt ?? reason) && (
          <span className="excerpt" dir="auto">
            {excerpt ?? reason}
          </span>
        )}
      </a>
      <span className="meta">
        <Time value={created_at} />
        {article && <span className="of">{article}</span>}
        {!is_read && (
          <button
            type="button"
            className="link"
            aria-label={`Mark as read: ${actor ? `${actor.username} ` : ""}${deeds[kind]}`}
            onClick={onRead}
          >
            Mark as read
          </button>
        )}
      </span>
    </li>
  );
}

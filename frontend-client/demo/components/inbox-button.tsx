"use client";
import type { Notification } from "@scicommons/discussions-client";
import { useNotifications, useRealtimeEvents } from "@scicommons/discussions-client/react";
import { lazy, Suspense, useCallback, useRef, useState } from "react";
import { announce } from "../lib/announce";
import type { DemoArticle } from "../lib/demo-api";
import type { Navigation } from "../lib/view";

const Inbox = lazy(() => import("./inbox").then(({ Inbox }) => ({ default: Inbox })));

export interface InboxButtonProps extends Pick<Navigation, "view" | "link"> {
  articles: readonly DemoArticle[];
}

const news: Record<Notification["kind"], string> = {
  mention: "Somebody mentioned you",
  reply: "Somebody replied to your comment",
  comment: "New comment in your discussion",
  discussion: "New discussion on an article that you follow",
  moderation: "A moderator removed a text of yours",
};

/** The number of unread notifications, and a panel with all of them. The panel's code is loaded when it is opened first. */
export function InboxButton({ articles, view, link }: InboxButtonProps) {
  const { unreadCount } = useNotifications();
  const dialog = useRef<HTMLDialogElement>(null);
  const [isOpen, setOpen] = useState(false);
  useRealtimeEvents(
    ({ kind, article_id, discussion_id }) => {
      // What arrives in the open discussion, and on the open article, is announced there.
      const isShown = kind === "discussion" ? article_id === view.article : discussion_id === view.discussion;
      if (!isShown) announce(news[kind]);
    },
    { types: ["new_notification"] },
  );
  const close = useCallback(() => dialog.current?.close(), []);
  const open = () => {
    setOpen(true);
    dialog.current?.showModal();
  };
  return (
    <>
      <button type="button" className="inbox-button" aria-haspopup="dialog" onClick={open}>
        Inbox
        {unreadCount > 0 && (
          <>
            <span className="visually-hidden"> {unreadCount} unread</span>
            <span className="inbox-count" aria-hidden="true">
              {unreadCount > 99 ? "99+" : unreadCount}
            </span>
          </>
        )}
      </button>
      <dialog ref={dialog} className="inbox" aria-labelledby="inbox-title" onClose={() => setOpen(false)}>
        {isOpen && (
          <Suspense fallback={<h2 id="inbox-title">Inbox</h2>}>
            <Inbox articles={articles} link={link} onClose={close} />
          </Suspense>
        )}
      </dialog>
    </>
  );
}

"use client";
import { useNotifications } from "@scicommons/discussions-client/react";
import { lazy, Suspense, useCallback, useEffect, useRef, useState } from "react";
import { announce } from "../lib/announce";
import type { DemoArticle } from "../lib/demo-api";
import type { Navigation } from "../lib/view";

const Inbox = lazy(() => import("./inbox").then(({ Inbox }) => ({ default: Inbox })));

/** The number of unread notifications, and a panel with all of them. The panel's code is loaded when it is opened first. */
export function InboxButton({ articles, link }: { articles: readonly DemoArticle[]; link: Navigation["link"] }) {
  const { unreadCount, isPending } = useNotifications();
  const dialog = useRef<HTMLDialogElement>(null);
  const [isOpen, setOpen] = useState(false);
  const before = useRef<number>(undefined);
  useEffect(() => {
    if (isPending) return;
    if (before.current !== undefined && unreadCount > before.current)
      announce(unreadCount === 1 ? "1 unread notification" : `${unreadCount} unread notifications`);
    before.current = unreadCount;
  }, [isPending, unreadCount]);
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

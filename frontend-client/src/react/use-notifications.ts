"use client";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { overlayNotifications, sendRead, type NotificationsToRead } from "../core/cache/notifications.js";
import { notificationsQuery } from "../core/cache/queries.js";
import type { Notifications } from "../core/wire.js";
import { noOperations } from "./no-operations.js";
import { useLiveConnection } from "./provider.js";

export interface UseNotificationsOptions {
  /** Only those that are unread. */
  unread?: boolean;
  pageSize?: number;
  enabled?: boolean;
}

const noPages: Notifications[] = [];

/** What concerns the user, live and newest first. It is empty for a reader who is not signed in. */
export function useNotifications({ unread = false, pageSize, enabled = true }: UseNotificationsOptions = {}) {
  const { config, outbox, pending, user } = useLiveConnection();
  const query = useInfiniteQuery({
    ...notificationsQuery({ unread }, { config, user, pageSize }),
    enabled: enabled && user !== null,
  });
  const pages = query.data?.pages ?? noPages;
  const operations = useSyncExternalStore(pending.subscribe, pending.snapshot, noOperations);
  const { notifications, unreadCount, settled } = useMemo(
    () => overlayNotifications(pages, { unread }, operations),
    [pages, unread, operations],
  );
  useEffect(() => pending.remove(...settled), [pending, settled]);
  const newest = notifications[0]?.id;
  const actions = useMemo(
    () => ({
      /** Marks one or more as read, or all up to one. */
      markRead: (what: NotificationsToRead) => sendRead(outbox, what, pending.snapshot()),
      /** Marks all as read that the user can have seen: up to the newest one. */
      markAllRead: () =>
        newest === undefined ? Promise.resolve() : sendRead(outbox, { upTo: newest }, pending.snapshot()),
    }),
    [newest, outbox, pending],
  );
  return {
    notifications,
    unreadCount,
    isPending: query.isPending,
    isEmpty: query.data !== undefined && notifications.length === 0,
    error: query.error,
    hasMore: query.hasNextPage,
    isFetchingMore: query.isFetchingNextPage,
    fetchMore: query.fetchNextPage,
    refetch: query.refetch,
    ...actions,
  };
}

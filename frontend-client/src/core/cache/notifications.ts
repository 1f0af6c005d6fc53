import type { Notification, Notifications } from "../wire.js";
import { isIncomplete, unreadCountOf, type NotificationScope } from "../reducers/notifications.js";
import { newKey } from "./new-key.js";
import type { Outbox } from "./outbox.js";
import type { Operation, ReadOperation } from "./pending.js";

/** Some notifications by their ids, or all up to one. */
export type NotificationsToRead = number | readonly number[] | { upTo: number };

export interface NotificationList {
  notifications: Notification[];
  unreadCount: number;
}

type Read = Extract<Operation, { kind: "read_notifications" }>;

const isNamed = ({ ids, upTo }: ReadOperation, { id }: Notification) => id <= upTo || ids.includes(id);

/** The cached notifications with what the user has just read, and the operations that the cache already shows. */
export function overlayNotifications(
  pages: readonly Notifications[],
  { unread }: NotificationScope,
  operations: readonly Operation[],
): NotificationList & { settled: string[] } {
  // One that came without its text shows when the text is there.
  const cached = pages.flatMap((page) => page.notifications).filter((one) => !isIncomplete(one));
  const settled: string[] = [];
  const reads = operations.filter((operation): operation is Read => {
    if (operation.kind !== "read_notifications" || operation.state === "failed") return false;
    if (operation.state !== "confirmed") return true;
    const isShown = operation.isTold || !cached.some((one) => !one.is_read && isNamed(operation, one));
    if (isShown) settled.push(operation.key);
    return !isShown;
  });
  if (reads.length === 0) return { notifications: cached, unreadCount: unreadCountOf(pages), settled };
  const isRead = (one: Notification) => !one.is_read && reads.some((operation) => isNamed(operation, one));
  const read = cached.filter(isRead).length;
  const rest = cached.filter((one) => !one.is_read).length - read;
  const newest = Math.max(0, ...cached.map(({ id }) => id));
  // Those that are not loaded are older than those that are.
  const isAll = reads.some(({ upTo }) => upTo > 0 && upTo >= (cached[cached.length - 1]?.id ?? newest));
  const unreadCount = isAll ? rest : Math.max(rest, unreadCountOf(pages) - read);
  const notifications = unread
    ? cached.filter((one) => !isRead(one))
    : cached.map((one) => (isRead(one) ? { ...one, is_read: true } : one));
  return { notifications, unreadCount, settled };
}

/** Marks notifications as read. It shows at once, in every hook. Marks that are under way already are not sent twice. */
export async function sendRead(
  outbox: Outbox,
  what: NotificationsToRead,
  pending: readonly Operation[],
): Promise<void> {
  const upTo = typeof what === "object" && "upTo" in what ? what.upTo : 0;
  const all = typeof what === "number" ? [what] : Array.isArray(what) ? (what as readonly number[]) : [];
  const open = pending.filter((one): one is Read => one.kind === "read_notifications" && one.state !== "confirmed");
  const ids = all.filter((id) => !open.some((one) => id <= one.upTo || one.ids.includes(id)));
  const same = open.find((one) => upTo > 0 && one.upTo >= upTo);
  if (ids.length === 0 && (upTo === 0 || same)) return;
  const base = { key: newKey(), at: Date.now(), state: "sending" as const, after: outbox.head() };
  await outbox.send({ ...base, kind: "read_notifications", ids, upTo });
}

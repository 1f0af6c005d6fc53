import { insertAt, isOutdated, mapChanged, type KnownEvent } from "../events.js";
import type { Notification as Sent, Notifications } from "../wire.js";
import { ok, refetch, type Folded } from "./fold.js";

type EventOf<T extends KnownEvent["type"]> = Extract<KnownEvent, { type: T }>;

/** An event may say what a notification is about, and how many are unread now. What it does not say is read again or counted. */
interface Details extends Partial<Omit<Sent, "id">> {
  unread_count?: number;
  up_to_id?: number | null;
}

/** As in the cache: an event may bring one without its text. */
export type CachedNotification = Sent & { is_incomplete?: true };

/** The longest excerpt, in code points. */
const EXCERPT = 200;

/** Which notifications are listed: those that are unread, or all. */
export interface NotificationScope {
  unread?: boolean | undefined;
}

/** Whether an event brought it without saying what it is about, so that the list must be read again. */
export function isIncomplete({ is_incomplete }: CachedNotification): boolean {
  return is_incomplete === true;
}

/** The number of unread notifications, as the newest page has it. */
export function unreadCountOf(pages: readonly Notifications[]): number {
  const newest = pages.reduce<Notifications | undefined>(
    (best, page) => (best && best.last_event_id >= page.last_event_id ? best : page),
    undefined,
  );
  return newest?.unread_count ?? 0;
}

/**
 * Folds one event into cached pages of a user's notifications (newest first). Events state how things are now, so folding an event
 * twice changes nothing. Each page skips the events up to its own `last_event_id`. The result is `refetch` if the event does not
 * say enough to know the list or the number of unread ones.
 */
export function foldNotifications(
  pages: readonly Notifications[],
  scope: NotificationScope,
  event: KnownEvent,
  userId: number,
): Folded<readonly Notifications[]> {
  if (!pages.some((page) => event.event_id > page.last_event_id)) return ok(pages);
  switch (event.type) {
    case "new_notification":
      return event.user_id === userId ? withNew(pages, scope, event) : ok(pages);
    case "notifications_read":
      return event.user_id === userId ? withRead(pages, scope, event) : ok(pages);
    case "notifications_withdrawn": {
      if (event.user_id !== userId) return ok(pages);
      const isNamed = ({ id }: Sent) => event.ids.includes(id);
      const { unread_count } = event as typeof event & Details;
      if (unread_count === undefined && event.ids.some((id) => isBelow(pages, id))) return refetch;
      return ok(without(pages, event.event_id, isNamed, unread_count));
    }
    case "deleted_comment":
      return ok(without(pages, event.event_id, (one) => isText(one) && one.comment_id === event.comment_id));
    case "deleted_discussion": {
      const isOf = (one: Sent) => one.discussion_id === event.discussion_id;
      const isGone = (one: Sent) => isText(one) && isOf(one) && one.comment_id === null;
      // What is about its comments stays, as they do.
      const rest = (one: Sent) => (isOf(one) ? withField(one, "topic", null) : one);
      return ok(without(pages, event.event_id, isGone, undefined, rest));
    }
    case "updated_discussion":
      return ok(event.topic === null ? pages : change(pages, event.event_id, (one) => retitled(one, event)));
    case "updated_comment":
      return ok(
        change(pages, event.event_id, (one) =>
          one.comment_id === event.comment_id ? withExcerpt(one, event.text) : one,
        ),
      );
    case "author_changed":
      return ok(
        change(pages, event.event_id, (one) =>
          one.community_id === event.community_id && isOutdated(one.actor, event.author)
            ? { ...one, actor: event.author }
            : one,
        ),
      );
    case "membership_changed":
      if (event.user_id !== userId || event.role !== null) return ok(pages);
      return ok(without(pages, event.event_id, (one) => one.community_id === event.community_id));
    default:
      return ok(pages);
  }
}

/** The beginning of a text, as notifications show it. */
export function excerptOf(text: string): string {
  return [...text].slice(0, EXCERPT).join("");
}

/** Whether it is about a text that is there. What tells of a removal stays. */
const isText = ({ kind }: Sent) => kind !== "moderation";

function retitled(one: Sent, event: EventOf<"updated_discussion">): Sent {
  if (one.discussion_id !== event.discussion_id) return one;
  const named = withField(one, "topic", event.topic);
  return one.comment_id === null ? withExcerpt(named, event.text) : named;
}

function withExcerpt(one: Sent, text: string | null): Sent {
  return text === null || !isText(one) || isIncomplete(one) ? one : withField(one, "excerpt", excerptOf(text));
}

function withField<K extends keyof Sent>(one: Sent, name: K, value: Sent[K]): Sent {
  return one[name] === value || isIncomplete(one) ? one : { ...one, [name]: value };
}

/** Whether a notification may be on a page that is not loaded. */
function isBelow(pages: readonly Notifications[], id: number): boolean {
  const end = pages[pages.length - 1];
  const last = end?.notifications[end.notifications.length - 1];
  return end?.next_cursor !== null && id < (last?.id ?? Infinity);
}

/** Changes the notifications of the pages that do not have the event yet. `undefined` leaves one out. */
function change(
  pages: readonly Notifications[],
  eventId: number,
  next: (one: Sent) => Sent | undefined,
  count?: (page: Notifications) => number,
): readonly Notifications[] {
  return mapChanged(pages, (page) => {
    if (eventId <= page.last_event_id) return page;
    const mapped = mapChanged<Sent | undefined>(page.notifications, (one) => one && next(one));
    const notifications = mapped.includes(undefined) ? mapped.filter((one) => one !== undefined) : (mapped as Sent[]);
    const unread_count = Math.max(0, count?.(page) ?? page.unread_count);
    if (notifications === page.notifications && unread_count === page.unread_count) return page;
    return { ...page, notifications, unread_count, last_event_id: eventId };
  });
}

/** How many loaded notifications are unread, of those that `matches` and that the event is news for. */
function unreadAmong(pages: readonly Notifications[], eventId: number, matches: (one: Sent) => boolean): number {
  return pages
    .filter((page) => eventId > page.last_event_id)
    .flatMap((page) => page.notifications)
    .filter((one) => !one.is_read && matches(one)).length;
}

/** The pages without what is gone. If the event has no count, those of them that were unread are taken off. */
function without(
  pages: readonly Notifications[],
  eventId: number,
  isGone: (one: Sent) => boolean,
  unreadCount?: number,
  /** A change of the others. */
  rest: (one: Sent) => Sent = (one) => one,
): readonly Notifications[] {
  const missing = unreadAmong(pages, eventId, isGone);
  return change(
    pages,
    eventId,
    (one) => (isGone(one) ? undefined : rest(one)),
    (page) => unreadCount ?? page.unread_count - missing,
  );
}

function withRead(
  pages: readonly Notifications[],
  scope: NotificationScope,
  event: EventOf<"notifications_read">,
): Folded<readonly Notifications[]> {
  const { ids, up_to_id: upTo = null, unread_count } = event as typeof event & Details;
  // It says that more were read than it names.
  if (ids === null && upTo === null) return refetch;
  const isUnclear = upTo !== null ? isBelow(pages, upTo) || hasMore(pages) : ids?.some((id) => isBelow(pages, id));
  if (unread_count === undefined && isUnclear) return refetch;
  const isNamed = ({ id }: Sent) => id <= (upTo ?? 0) || (ids?.includes(id) ?? false);
  const read = unreadAmong(pages, event.event_id, isNamed);
  const next = (one: Sent) => {
    if (one.is_read || !isNamed(one)) return one;
    return scope.unread ? undefined : { ...one, is_read: true };
  };
  return ok(change(pages, event.event_id, next, (page) => unread_count ?? page.unread_count - read));
}

const hasMore = (pages: readonly Notifications[]) => pages[pages.length - 1]?.next_cursor !== null;

function withNew(
  pages: readonly Notifications[],
  scope: NotificationScope,
  event: EventOf<"new_notification">,
): Folded<readonly Notifications[]> {
  const { event_id: eventId, unread_count } = event as typeof event & Details;
  const made = fromEvent(event);
  const known = pages.flatMap((page) => page.notifications).find((one) => one.id === made.id);
  const isThere = known !== undefined;
  const isListed = !isThere && !(scope.unread && made.is_read);
  if (unread_count === undefined && !isThere && isBelow(pages, made.id)) return refetch;
  const home = pages.findIndex((page) => {
    const last = page.notifications[page.notifications.length - 1];
    return page.next_cursor === null || (last?.id ?? Infinity) < made.id;
  });
  // An event that comes again states how it was at first. What was read since comes again too.
  const more = Number(!made.is_read) - Number(known !== undefined && !known.is_read);
  return ok(
    pages.map((page, at) => {
      if (eventId <= page.last_event_id) return page;
      const stated = mapChanged(page.notifications, (one) =>
        one.id === made.id && one.is_read !== made.is_read ? { ...one, is_read: made.is_read } : one,
      );
      const notifications = isListed && at === home ? inserted(stated, made) : stated;
      return { ...page, notifications, unread_count: unread_count ?? page.unread_count + more, last_event_id: eventId };
    }),
  );
}

function inserted(notifications: Sent[], made: Sent): Sent[] {
  const before = notifications.findIndex((other) => other.id < made.id);
  return insertAt(notifications, before < 0 ? notifications.length : before, made);
}

function fromEvent(event: EventOf<"new_notification">): CachedNotification {
  const { notification_id: id, kind, community_id, article_id, discussion_id, comment_id, timestamp } = event;
  const { topic = null, excerpt = null, actor = null, reason = null, ...rest } = event as typeof event & Details;
  const { is_read = false, created_at = timestamp } = rest;
  const place = { community_id, article_id, discussion_id, comment_id };
  const made = { id, kind, ...place, topic, excerpt, actor, reason, is_read, created_at };
  const isSilent = topic === null && excerpt === null && actor === null;
  return isSilent && (kind !== "moderation" || !("topic" in event)) ? { ...made, is_incomplete: true } : made;
}

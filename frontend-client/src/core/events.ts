import type { Author, AuthorChangedEvent, Comment, Event } from "./generated/api.js";

/** An author has a new name or picture. The event is never about a pseudonym. */
export type AuthorChanged = AuthorChangedEvent;

/** Every event that the reducers know. A newer server may send other types; the reducers ignore them. */
export type KnownEvent = Event;

/** Votes on a discussion or comment changed, for everyone or by the viewer. */
export type VoteEvent = Extract<KnownEvent, { type: "votes_changed" | "own_vote_changed" }>;

/** What an item shows of its votes after the event. */
export function votesAfter(event: VoteEvent): Pick<Comment, "upvotes" | "downvotes"> | Pick<Comment, "own_vote"> {
  if (event.type === "own_vote_changed") return { own_vote: event.value };
  return { upvotes: event.upvotes, downvotes: event.downvotes };
}

/** The item with the person's new name and picture if it shows or mentions this person, else the same reference. */
export function renamed<T extends { author: Author | null; resolved_by?: Author | null; mentions?: Author[] }>(
  item: T,
  event: AuthorChanged,
): T {
  const author = isOutdated(item.author, event.author);
  const resolver = isOutdated(item.resolved_by, event.author);
  // An older server sends no mentions.
  const before = item.mentions ?? none;
  const mentions = mapChanged(before, (one) => (isOutdated(one, event.author) ? event.author : one));
  if (!author && !resolver && mentions === before) return item;
  return {
    ...item,
    ...(author && { author: event.author }),
    ...(resolver && { resolved_by: event.author }),
    ...(mentions !== before && { mentions }),
  };
}

const none: Author[] = [];

/** Whom a text mentions after the event. An older server does not say it, and in a redacted event it is null. */
export function mentionsAfter(event: { mentions?: Author[] | null }, before: Author[]): Author[] {
  return event.mentions === undefined ? before : (event.mentions ?? none);
}

/** Whether it shows this person as they were before. */
export function isOutdated(shown: Author | null | undefined, now: Author): boolean {
  if (!shown || shown.id === null || shown.id !== now.id) return false;
  return shown.username !== now.username || shown.avatar_url !== now.avatar_url;
}

/** Maps `items` by `change`. Returns the same reference if no item changes. */
export function mapChanged<T>(items: readonly T[], change: (item: T) => T): T[] {
  let changed = false;
  const mapped = items.map((item) => {
    const next = change(item);
    if (next !== item) changed = true;
    return next;
  });
  return changed ? mapped : (items as T[]);
}

/** `items` with `item` at `at`. Not all supported browsers have `Array.prototype.with`. */
export function replaceAt<T>(items: readonly T[], at: number, item: T): T[] {
  const copy = items.slice();
  copy[at] = item;
  return copy;
}

/** `items` with `item` inserted before `at`. */
export function insertAt<T>(items: readonly T[], at: number, item: T): T[] {
  return [...items.slice(0, at), item, ...items.slice(at)];
}

import type { Author, AuthorChangedEvent, Event } from "./generated/api.js";

/** An author has another name or picture. A pseudonym has no id and is never the subject. */
export type AuthorChanged = AuthorChangedEvent;

/** Every event that the reducers understand. Servers may send other types: those change nothing. */
export type KnownEvent = Event;

/** The author as the event says, wherever this author is shown; the same reference otherwise. */
export function renamed<T extends { author: Author | null }>(item: T, event: AuthorChanged): T {
  const { author } = item;
  if (!author || author.id === null || author.id !== event.author.id) return item;
  const { username, avatar_url } = event.author;
  if (author.username === username && author.avatar_url === avatar_url) return item;
  return { ...item, author: event.author };
}

/** `items` with each changed that `change` changes; the same reference if it changes none. */
export function mapChanged<T>(items: readonly T[], change: (item: T) => T): T[] {
  let changed = false;
  const mapped = items.map((item) => {
    const next = change(item);
    if (next !== item) changed = true;
    return next;
  });
  return changed ? mapped : (items as T[]);
}

/** `items` with another one at `at`. `Array.prototype.with` is younger than the browsers that this package supports. */
export function replaceAt<T>(items: readonly T[], at: number, item: T): T[] {
  const copy = items.slice();
  copy[at] = item;
  return copy;
}

/** `items` with one more before `at`. */
export function insertAt<T>(items: readonly T[], at: number, item: T): T[] {
  return [...items.slice(0, at), item, ...items.slice(at)];
}

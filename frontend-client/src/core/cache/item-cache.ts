/** An item of a list on screen. */
interface Item {
  key: string;
  replies?: readonly Item[];
}

/**
 * Replaces items that did not change by the objects of the last call. React then renders only the items that changed, so one
 * new comment among a thousand costs the rendering of one.
 */
export class ItemCache<T extends Item> {
  #items: T[] = [];

  keep(items: T[]): T[] {
    return (this.#items = keepSame(this.#items, items));
  }
}

function keepSame<T extends Item>(before: readonly T[], items: T[]): T[] {
  const known = new Map(before.map((item) => [item.key, item]));
  const kept = items.map((item) => {
    const old = known.get(item.key);
    if (!old) return item;
    const next = item.replies
      ? { ...item, replies: keepSame((old.replies ?? []) as Item[], item.replies as Item[]) }
      : item;
    return isSame(old, next) ? old : next;
  });
  const unchanged = kept.length === before.length && kept.every((item, at) => item === before[at]);
  return unchanged ? (before as T[]) : kept;
}

/** The fields that hold a person. */
const people: readonly string[] = ["author", "resolved_by"];

function isSame(a: object, b: object): boolean {
  const names = Object.keys(a) as (keyof typeof a)[];
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.is(a[name], b[name]) || (people.includes(name) && sameAuthor(a[name], b[name])))
  );
}

function sameAuthor(a: unknown, b: unknown): boolean {
  return typeof a === "object" && typeof b === "object" && a !== null && b !== null && isSame(a, b);
}

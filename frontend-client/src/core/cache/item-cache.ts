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
  // Most items are at the same place as before. The index is made for the first one that is not.
  let byKey: Map<string, T> | undefined;
  const kept = items.map((item, at) => {
    const same = before[at];
    if (same === item) return item;
    const old = same?.key === item.key ? same : (byKey ??= index(before)).get(item.key);
    if (!old || old === item) return item;
    const next = withReplies(item, keepSame((old.replies ?? []) as Item[], (item.replies ?? []) as Item[]));
    return isSame(old, next) ? old : next;
  });
  if (isSameList(before, kept)) return before as T[];
  return isSameList(items, kept) ? items : kept;
}

const index = <T extends Item>(items: readonly T[]) => new Map(items.map((item) => [item.key, item]));

function withReplies<T extends Item>(item: T, replies: readonly Item[]): T {
  return item.replies === undefined || item.replies === replies ? item : { ...item, replies };
}

function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at]);
}

/** The fields that hold a person, or several. */
const people: readonly string[] = ["author", "resolved_by", "mentions"];

function isSame(a: object, b: object): boolean {
  const names = Object.keys(a) as (keyof typeof a)[];
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.is(a[name], b[name]) || (people.includes(name) && samePeople(a[name], b[name])))
  );
}

function samePeople(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return sameAuthor(a, b);
  return a.length === b.length && a.every((one, at) => sameAuthor(one, b[at]));
}

function sameAuthor(a: unknown, b: unknown): boolean {
  return typeof a === "object" && typeof b === "object" && a !== null && b !== null && isSame(a, b);
}

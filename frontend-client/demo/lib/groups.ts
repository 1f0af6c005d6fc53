interface Item {
  key: string;
}

/** Neighbours of a long list. It is the same object for as long as its items are. */
export interface Group<T> {
  key: number;
  items: readonly T[];
}

/**
 * Divides a long list into groups, so that the page renders and lays out one group when one item comes. An item stays in its
 * group, whatever comes before and after it, because it would lose its state in another one.
 */
export class Groups<T extends Item> {
  /** By an item's key: the key of its group. */
  readonly #groupOf = new Map<string, number>();
  #before = new Map<number, Group<T>>();
  #count = 0;

  constructor(private readonly size: number) {}

  /** The groups of each part. No group has items of two parts. */
  arrange(...parts: readonly (readonly T[])[]): Group<T>[][] {
    const made = new Map<number, T[]>();
    const arranged = parts.map((items) => this.#divide(items, made));
    const before = this.#before;
    this.#before = new Map();
    return arranged.map((keys) => keys.map((key) => this.#keep(before.get(key), key, made.get(key) ?? [])));
  }

  #divide(items: readonly T[], made: Map<number, T[]>): number[] {
    const keys: number[] = [];
    let current: T[] = [];
    for (const [at, item] of items.entries()) {
      const own = this.#groupOf.get(item.key);
      const isHere = own !== undefined && own === keys[keys.length - 1];
      if (!isHere) {
        const begins = own !== undefined && !made.has(own) ? own : undefined;
        // In the midst of a group there is always room.
        const joins =
          begins === undefined && keys.length > 0 && (current.length < this.size || this.#goesOn(items, at, keys));
        if (!joins) {
          const key = begins ?? (this.#count += 1);
          keys.push(key);
          made.set(key, (current = []));
        }
        this.#groupOf.set(item.key, keys[keys.length - 1] ?? 0);
      }
      current.push(item);
    }
    return keys;
  }

  /** Whether the next item that has a group is of the group that was begun last. */
  #goesOn(items: readonly T[], from: number, keys: readonly number[]): boolean {
    for (let at = from; at < items.length; at += 1) {
      const own = this.#groupOf.get(items[at]?.key ?? "");
      if (own !== undefined) return own === keys[keys.length - 1];
    }
    return false;
  }

  #keep(before: Group<T> | undefined, key: number, items: readonly T[]): Group<T> {
    const isSame = before?.items.length === items.length && items.every((item, at) => item === before.items[at]);
    const group = isSame ? before : { key, items };
    this.#before.set(key, group);
    return group;
  }
}

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Groups } from "../../demo/lib/groups.js";

const items = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => ({ key: String(from + at) }));
const shape = (parts: { key: number; items: readonly { key: string }[] }[][]) =>
  parts.map((groups) => groups.map((group) => group.items.map(({ key }) => key).join(" ")));

test("an item that comes changes its own group, and no other item moves to another one", () => {
  const groups = new Groups<{ key: string }>(3);
  const list = items(10, 17);
  const [before = []] = groups.arrange(list);
  expect(shape([before])).toEqual([["10 11 12", "13 14 15", "16 17"]]);
  const [after = []] = groups.arrange([...list, ...items(18, 19)]);
  expect(shape([after])).toEqual([["10 11 12", "13 14 15", "16 17 18", "19"]]);
  expect([after[0], after[1]]).toEqual([before[0], before[1]]);
  expect(after[0]).toBe(before[0]);
  expect(after[2]?.key).toBe(before[2]?.key);
  // Earlier ones, and one in the midst of a full group.
  const more = [...items(6, 9), ...items(10, 13), { key: "13a" }, ...items(14, 19)];
  expect(shape(groups.arrange(more))).toEqual([["6 7 8", "9", "10 11 12", "13 13a 14 15", "16 17 18", "19"]]);
});

test("no group has items of two parts, and an item of the second part stays in its group when it joins the first", () => {
  const groups = new Groups<{ key: string }>(3);
  const own = { key: "own" };
  const [, mine = []] = groups.arrange(items(1, 2), [own]);
  expect(shape(groups.arrange(items(1, 2), [own]))).toEqual([["1 2"], ["own"]]);
  const [all = []] = groups.arrange([...items(1, 4), own], []);
  expect(shape([all])).toEqual([["1 2 3", "4", "own"]]);
  expect(all[2]).toBe(mine[0]);
});

test("however a list changes, the groups have its items in order, and each key once", () => {
  const lists = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { maxLength: 30 }), { maxLength: 6 });
  fc.assert(
    fc.property(lists, fc.nat(30), (changes, cut) => {
      const groups = new Groups<{ key: string }>(4);
      for (const keys of changes) {
        const list = keys.map((key) => ({ key: String(key) }));
        const parts = groups.arrange(list.slice(0, cut), list.slice(cut));
        expect(parts.flat().flatMap((group) => group.items)).toEqual(list);
        const names = parts.flat().map(({ key }) => key);
        expect(new Set(names).size).toBe(names.length);
        expect(groups.arrange(list.slice(0, cut), list.slice(cut))).toEqual(parts);
      }
    }),
  );
});

/** What folding gives: the new value (the same reference if nothing changed), or that only a refetch can tell. */
export type Folded<T> = { kind: "ok"; value: T } | { kind: "refetch" };

export const ok = <T>(value: T): Folded<T> => ({ kind: "ok", value });
export const refetch: Folded<never> = { kind: "refetch" };

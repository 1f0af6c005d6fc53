/** The result of folding: the new value (the same reference if nothing changed), or `refetch` if the events do not suffice. */
export type Folded<T> = { kind: "ok"; value: T } | { kind: "refetch" };

export const ok = <T>(value: T): Folded<T> => ({ kind: "ok", value });
export const refetch: Folded<never> = { kind: "refetch" };

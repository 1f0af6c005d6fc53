import { isApiError } from "@scicommons/discussions-client";
import type { useComments } from "@scicommons/discussions-client/react";
import { useEffect, useEffectEvent, useRef, useState } from "react";
import { reveal } from "./reveal";

export type Search = { id: number; state: "looking" | "missing" | "failed" };

type Loaded = Pick<ReturnType<typeof useComments>, "error" | "hasMore" | "hasEarlier" | "isPending" | "refetch">;

/**
 * Finds a comment of the thread. If it is not loaded, `setAround` loads the thread around it. Then the reader is led to it, or
 * `arrive` is called.
 */
export function useFinder(thread: Loaded, around: number | undefined, setAround: (id: number | undefined) => void) {
  const [search, setSearch] = useState<Search>();
  const wanted = useRef<{ id: number; arrive: (found: HTMLElement) => unknown }>(undefined);
  const look = useEffectEvent(() => {
    if (wanted.current === undefined) return;
    const { id, arrive } = wanted.current;
    const found = document.getElementById(`comment-${id}`);
    if (!found && thread.isPending) return;
    if (!found && !thread.error && around !== id && (thread.hasMore || thread.hasEarlier)) return setAround(id);
    wanted.current = undefined;
    if (found) {
      arrive(found);
      return setSearch(undefined);
    }
    const isMissing = !thread.error || isApiError(thread.error, "comment_not_found");
    setSearch({ id, state: isMissing ? "missing" : "failed" });
    if (isMissing) setAround(undefined);
  });
  useEffect(() => look());
  const find = (id: number, arrive: (found: HTMLElement) => unknown = reveal) => {
    wanted.current = { id, arrive };
    if (thread.error) void thread.refetch();
    setSearch({ id, state: "looking" });
  };
  const forget = () => {
    wanted.current = undefined;
    setSearch(undefined);
  };
  return { find, forget, search };
}

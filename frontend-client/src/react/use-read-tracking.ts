"use client";
import { useEffect, useMemo } from "react";
import type { ReadTracker } from "../core/cache/read-tracker.js";
import { useLiveConnection } from "./provider.js";

export interface UseReadTrackingOptions {
  enabled?: boolean;
}

/** Makes the `ref` of a comment's element; without an id, of the element with the discussion's own text. */
export type ObserveRead = (commentId?: number) => (element: Element | null) => void;

/**
 * Marks as read what the user has in view for a second, while the page is visible and has the focus. What is read already, and
 * what is of a reader who is no member, is left alone. The `ref` of a comment is the same function at each render.
 */
export function useReadTracking(discussionId: number, { enabled = true }: UseReadTrackingOptions = {}): ObserveRead {
  const { readTracker } = useLiveConnection();
  useEffect(() => (enabled ? readTracker.open(discussionId) : undefined), [readTracker, discussionId, enabled]);
  return useMemo(() => refsOf(readTracker, discussionId, enabled), [readTracker, discussionId, enabled]);
}

function refsOf(tracker: ReadTracker, discussionId: number, enabled: boolean): ObserveRead {
  const refs = new Map<number, (element: Element | null) => void>();
  const refOf = (id: number) => {
    let observed: Element | undefined;
    return (element: Element | null) => {
      if (observed) tracker.unobserve(observed);
      observed = element ?? undefined;
      if (observed && enabled) tracker.observe(observed, { discussionId, id });
    };
  };
  return (id = 0) => {
    const ref = refs.get(id) ?? refOf(id);
    refs.set(id, ref);
    return ref;
  };
}

"use client";
import { useEffect, useRef } from "react";
import type { Event } from "../core/generated/api.js";
import { useLiveConnection } from "./provider.js";

export type EventType = Event["type"];
type EventOf<T extends EventType> = Extract<Event, { type: T }>;

export interface UseRealtimeEventsOptions<T extends EventType = EventType> {
  /** Only events of these types. Default: all. */
  types?: readonly T[];
  /** Only events of this article. */
  articleId?: number | undefined;
  /**
   * `tab` (the default): every tab of the browser calls its listener. `browser`: only the tab that polls for all tabs does, so
   * that a notification is shown once.
   */
  once?: "browser" | "tab";
}

/** Calls `listener` once for every event that reaches this tab, after the cache has it. */
export function useRealtimeEvents<T extends EventType = EventType>(
  listener: (event: EventOf<T>) => void,
  options: UseRealtimeEventsOptions<T> = {},
): void {
  const connection = useLiveConnection();
  const latest = useRef({ listener, options });
  useEffect(() => {
    latest.current = { listener, options };
  });
  useEffect(
    () =>
      connection.onEvent((event) => {
        const { listener, options } = latest.current;
        const isSilent = options.once === "browser" && !connection.isLeader.get();
        if (!isSilent && isWanted(event, options)) listener(event);
      }),
    [connection],
  );
}

function isWanted<T extends EventType>(
  event: Event,
  { types, articleId }: UseRealtimeEventsOptions<T>,
): event is EventOf<T> {
  if (types && !(types as readonly EventType[]).includes(event.type)) return false;
  return articleId === undefined || ("article_id" in event && event.article_id === articleId);
}

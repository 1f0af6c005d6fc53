"use client";
import { useCallback, useSyncExternalStore } from "react";
import type { RealtimeStatus } from "../core/live/status.js";
import { useLiveConnection } from "./provider.js";

/** How current the lists of this page are. */
export function useRealtimeStatus(): RealtimeStatus {
  const { status } = useLiveConnection();
  return useSyncExternalStore(status.subscribe, status.get, status.initial);
}

/** Returns a function that reconnects at once, also after `signed_out`, and repeats failed fetches. */
export function useReconnect(): () => void {
  const connection = useLiveConnection();
  return useCallback(() => connection.reconnect(), [connection]);
}

export interface NextTry {
  /** Seconds until the client tries again. Undefined while it tries, and while it is connected. */
  seconds: number | undefined;
  /** Tries at once, also after `signed_out`: use it as the way back after the user has signed in again. */
  tryNow: () => void;
}

/** For "in 20 s · try now" while the server cannot be reached. Renders once a second while the client waits. */
export function useNextTry(): NextTry {
  const { timers } = useLiveConnection();
  const status = useRealtimeStatus();
  const tryNow = useReconnect();
  const retryAt = "retryAt" in status ? status.retryAt : undefined;
  const subscribe = useCallback(
    (listener: () => void) => {
      if (retryAt === undefined) return () => undefined;
      const tick = () => {
        handle = timers.set(tick, 1000);
        listener();
      };
      let handle = timers.set(tick, 1000);
      return () => timers.clear(handle);
    },
    [retryAt, timers],
  );
  const get = () => (retryAt === undefined ? undefined : Math.max(0, Math.ceil((retryAt - timers.now()) / 1000)));
  const seconds = useSyncExternalStore(subscribe, get, () => undefined);
  return { seconds, tryNow };
}

/** Whether this tab polls for all tabs of the browser, so that it alone can do what must be done once. */
export function useIsLeader(): boolean {
  const { isLeader } = useLiveConnection();
  return useSyncExternalStore(isLeader.subscribe, isLeader.get, isLeader.initial);
}

import { useEffect, useMemo, useSyncExternalStore } from "react";
import type { Overlaid, StableKeys } from "../core/cache/overlay.js";
import type { Operation } from "../core/cache/pending.js";
import { useLiveConnection } from "./provider.js";

export type Overlay<T> = (operations: readonly Operation[], keys: StableKeys) => Overlaid<T>;

/** Lays the user's pending operations on top, and drops those that the cache shows by now. `overlay` is memoised by the caller. */
export function useOverlay<T>(overlay: Overlay<T>): T[] {
  const { pending, stableKeys } = useLiveConnection();
  const operations = useSyncExternalStore(pending.subscribe, pending.snapshot, pending.snapshot);
  const { items, settled } = useMemo(() => overlay(operations, stableKeys), [operations, stableKeys, overlay]);
  useEffect(() => pending.remove(...settled), [pending, settled]);
  return items;
}

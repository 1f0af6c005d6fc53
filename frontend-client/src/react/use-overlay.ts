import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { Overlaid, StableKeys } from "../core/cache/overlay.js";
import { ItemCache } from "../core/cache/item-cache.js";
import type { Operation } from "../core/cache/pending.js";
import { noOperations } from "./no-operations.js";
import { useLiveConnection } from "./provider.js";

export type Overlay<T> = (operations: readonly Operation[], keys: StableKeys) => Overlaid<T>;

/** Applies the user's pending operations and drops those that the cache already shows. The caller memoises `overlay`. */
export function useOverlay<T extends { key: string }>(overlay: Overlay<T>): T[] {
  const { pending, stableKeys } = useLiveConnection();
  const operations = useSyncExternalStore(pending.subscribe, pending.snapshot, noOperations);
  const [cache] = useState(() => new ItemCache<T>());
  const { items, settled } = useMemo(() => {
    const overlaid = overlay(operations, stableKeys);
    return { items: cache.keep(overlaid.items), settled: overlaid.settled };
  }, [cache, operations, stableKeys, overlay]);
  useEffect(() => pending.remove(...settled), [pending, settled]);
  return items;
}

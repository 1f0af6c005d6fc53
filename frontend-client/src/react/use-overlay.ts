import { useEffect, useMemo, useSyncExternalStore } from "react";
import type { Overlaid, StableKeys } from "../core/cache/overlay.js";
import type { Operation } from "../core/cache/pending.js";
import { useLiveConnection } from "./provider.js";

/** Lays the user's pending operations on top, and drops those that the cache shows by now. */
export function useOverlay<T>(overlay: (operations: readonly Operation[], keys: StableKeys) => Overlaid<T>, inputs: readonly unknown[]): T[] {
  const { pending, stableKeys } = useLiveConnection();
  const operations = useSyncExternalStore(pending.subscribe, pending.snapshot, pending.snapshot);
  // eslint-disable-next-line react-hooks/exhaustive-deps -- `inputs` are what `overlay` closes over
  const { items, settled } = useMemo(() => overlay(operations, stableKeys), [operations, stableKeys, ...inputs]);
  useEffect(() => pending.remove(...settled), [pending, settled]);
  return items;
}

import { useRealtimeEvents } from "@scicommons/discussions-client/react";
import { useMemo, useState } from "react";
import type { DemoCommunity } from "./demo-api";

/** The communities with their kinds as they are now. The directory was read when the page was opened. */
export function useKinds(communities: readonly DemoCommunity[]): DemoCommunity[] {
  const [kinds, setKinds] = useState<ReadonlyMap<number, DemoCommunity["kind"]>>(new Map());
  useRealtimeEvents(({ community_id, kind }) => setKinds((before) => new Map(before).set(community_id, kind)), {
    types: ["community_changed"],
  });
  return useMemo(
    () => communities.map((one) => ({ ...one, kind: kinds.get(one.id) ?? one.kind })),
    [communities, kinds],
  );
}

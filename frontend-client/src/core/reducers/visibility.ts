import type { KnownEvent } from "../events.js";
import type { Kind, ViewerInfo } from "../generated/api.js";
import { membershipIn } from "../viewer.js";

export type CommunityChanged = Extract<KnownEvent, { type: "community_changed" }>;

/** Whether a community of this kind is read by everyone, and can be watched. */
export function isReadByAll(kind: Kind): boolean {
  return kind === "public" || kind === "open";
}

/** Whether the viewer may read nothing of the community any more, because they are no member of it. */
export function closesTo(viewer: ViewerInfo | null, { community_id, kind }: CommunityChanged): boolean {
  return !isReadByAll(kind) && membershipIn(viewer, community_id) === undefined;
}

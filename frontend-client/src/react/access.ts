import { useSyncExternalStore } from "react";
import { ApiError, WrongViewerError } from "../core/api/error.js";
import { useLiveConnection } from "./provider.js";

/** Whether the user may read the list, and if not, why. */
export type Access =
  | { state: "granted" }
  /** The user left or was removed while the page was open. No more events arrive. */
  | { state: "removed"; communityId: number; since: string }
  /** The user is no member, and the community is no longer public. No more events arrive. */
  | { state: "closed"; communityId: number; since: string }
  | { state: "denied"; reason: "sign_in" | "not_a_member" | "not_found" };

export function useAccess(communityId: number | undefined, error: unknown): Access {
  const { lost } = useLiveConnection();
  const communities = useSyncExternalStore(lost.subscribe, lost.get, lost.initial);
  const loss = communityId === undefined ? undefined : communities.get(communityId);
  if (communityId !== undefined && loss) return { state: loss.reason, communityId, since: loss.since };
  if (error instanceof WrongViewerError) return { state: "denied", reason: "sign_in" };
  if (!(error instanceof ApiError)) return { state: "granted" };
  if (error.status === 401) return { state: "denied", reason: "sign_in" };
  if (error.code === "not_a_member") return { state: "denied", reason: "not_a_member" };
  // The thread is there, and has no such comment to be read around.
  if (error.code === "comment_not_found") return { state: "granted" };
  if (error.status === 404) return { state: "denied", reason: "not_found" };
  return { state: "granted" };
}

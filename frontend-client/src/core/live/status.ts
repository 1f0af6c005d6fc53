import type { ErrorCode } from "../generated/api.js";

/** How current this tab is. */
export type RealtimeStatus =
  /** Not yet live since it was started. */
  | { state: "connecting" }
  | { state: "live" }
  /** Too much was missed: what is cached is being fetched anew. */
  | { state: "catching_up" }
  /** Nothing was heard since then (milliseconds since 1970); it goes on trying. */
  | { state: "stale"; since: number; code?: ErrorCode }
  | { state: "offline"; since: number }
  /** No user, or the server refused the token twice. */
  | { state: "signed_out"; code?: ErrorCode };

export function sameStatus(a: RealtimeStatus, b: RealtimeStatus): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

import type { ErrorCode } from "../generated/api.js";

/** How current the lists of this tab are. */
export type RealtimeStatus =
  /** Started, but not live yet. */
  | { state: "connecting" }
  | { state: "live" }
  /** The log has missed events, so the cached lists are being fetched again. */
  | { state: "catching_up" }
  /** The server has not answered since `since`. The client tries again at `retryAt`; without it, it tries now. Both are milliseconds since 1970. */
  | { state: "stale"; since: number; retryAt?: number; code?: ErrorCode }
  | { state: "offline"; since: number; retryAt?: number }
  /** There is no user, or the server refused the token, also after a refresh. */
  | { state: "signed_out"; code?: ErrorCode };

export function sameStatus(a: RealtimeStatus, b: RealtimeStatus): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

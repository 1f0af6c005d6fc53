import { ApiError, isTransient } from "../api/error.js";

/** The longest wait, besides what the server asks for. */
const CAP_MS = 30_000;

/** Whether to send it again later: the server cannot be reached, is overloaded, or the user is signed out. Refusals are final. */
export function mayHelpLater(error: unknown): boolean {
  return isTransient(error) || (error instanceof ApiError && error.status === 401);
}

/** How long to wait after so many failures before this one, in milliseconds. A Retry-After is added. */
export function retryDelay(failures: number, error: unknown): number {
  const least = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
  return least + (0.5 + Math.random() / 2) * Math.min(CAP_MS, 500 * 2 ** Math.min(failures, 10));
}

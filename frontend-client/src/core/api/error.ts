import type { Comment, Discussion, ErrorCode, Summary } from "../generated/api.js";

/** An error answer of the server. Compare `code`; `message` is for people and may change. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly status: number,
    /** Undefined if a proxy answered instead of the server. */
    readonly code: ErrorCode | undefined,
    message: string,
    readonly fields: Readonly<Record<string, string>> = {},
    readonly retryAfterMs: number | undefined = undefined,
    /** With `changed_meanwhile`: what the thing to change is now. */
    readonly current: Comment | Discussion | Summary | undefined = undefined,
  ) {
    super(message);
  }
}

/** Whether `error` is an error answer of the server, and has this code if one is given. */
export function isApiError(error: unknown, code?: ErrorCode): error is ApiError {
  return error instanceof ApiError && (code === undefined || error.code === code);
}

/**
 * The server answered for another user than the page's, because that user's token or cookie is still in use. The answer is
 * discarded.
 */
export class WrongViewerError extends Error {
  override readonly name = "WrongViewerError";

  constructor(
    readonly expected: string | number | null,
    readonly actual: number | null,
  ) {
    super(`the server answered user ${actual ?? "(none)"}, but this is the page of user ${expected ?? "(none)"}`);
  }
}

/** Whether the same call may succeed later: after network errors, server errors and rate limits, but not after refusals. */
export function isTransient(error: unknown): boolean {
  if (error instanceof ApiError) return error.status >= 500 || error.status === 429 || error.status === 408;
  return !isAbort(error);
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

import type { ErrorCode } from "../generated/api.js";

/** A refusal by the server. Match on `code`; `message` is for people and may change. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly status: number,
    /** Undefined when a proxy answered in the server's place. */
    readonly code: ErrorCode | undefined,
    message: string,
    readonly fields: Readonly<Record<string, string>> = {},
    readonly retryAfterMs: number | undefined = undefined,
  ) {
    super(message);
  }
}

/** Whether `error` is a refusal by the server, with that code if one is given. */
export function isApiError(error: unknown, code?: ErrorCode): error is ApiError {
  return error instanceof ApiError && (code === undefined || error.code === code);
}

/**
 * The server answered as somebody else than the user that the page is for: their token or cookie is still in use. What it
 * answered is thrown away.
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

/** Whether trying the same again may help: the network, the server's trouble, or a limit; never a refusal. */
export function isTransient(error: unknown): boolean {
  if (error instanceof ApiError) return error.status >= 500 || error.status === 429 || error.status === 408;
  return !isAbort(error);
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

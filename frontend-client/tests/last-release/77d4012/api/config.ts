/** What the client wants a token for: the first try, or after the server refused the last one. */
export interface TokenRequest {
  /** True when the last token was refused with 401: a cached one will not do. */
  refresh: boolean;
  signal?: AbortSignal | undefined;
}

/** A bearer token, or a function that gets one. Null goes without (anonymous, or a session cookie). */
export type TokenSource = string | null | ((request: TokenRequest) => string | null | Promise<string | null>);

/** Where the server is and who is asking. */
export interface ApiConfig {
  /** The server's origin and path, without a slash at its end. Empty: the page's own origin. */
  baseUrl?: string;
  token?: TokenSource;
  /** `include` sends the session cookie to another origin; the default sends it to the page's own only. */
  credentials?: RequestCredentials;
  /** Sent with every call, such as a `Cookie` that a rendering server forwards. */
  headers?: HeadersInit;
  /** A call that takes longer fails. Polls have a limit of their own. Default: none in a browser, 3 s where pages are rendered. */
  timeoutMs?: number | undefined;
  /** For tests and for servers with a fetch of their own. */
  fetch?: typeof fetch;
}

let current: ApiConfig = {};

/** Sets what generated functions and hooks use that are given no `config` of their own. Not for servers with many users: pass `config` there. */
export function configureApi(config: ApiConfig): void {
  current = config;
}

export function apiConfig(): ApiConfig {
  return current;
}

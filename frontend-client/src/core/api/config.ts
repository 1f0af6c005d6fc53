/** What a token function is called with. */
export interface TokenRequest {
  /** True after the server refused the last token with 401. The function must then get a new one, not a cached one. */
  refresh: boolean;
  signal?: AbortSignal | undefined;
}

/** A bearer token, or a function that gets one. Null means no token (anonymous, or a session cookie). */
export type TokenSource = string | null | ((request: TokenRequest) => string | null | Promise<string | null>);

/** Where the server is and who asks. */
export interface ApiConfig {
  /** The server's origin and path, without a slash at the end. If empty, the page's own origin. */
  baseUrl?: string;
  token?: TokenSource;
  /** `include` also sends the session cookie to another origin. By default it is sent to the page's own origin only. */
  credentials?: RequestCredentials;
  /** Headers of every call, such as a `Cookie` that a rendering server forwards. */
  headers?: HeadersInit;
  /** A call that takes longer fails. Polls have their own limit. Default: none in a browser, 3 s on a server that renders pages. */
  timeoutMs?: number | undefined;
  /** Replaces the global fetch, for tests and for servers. */
  fetch?: typeof fetch;
}

let current: ApiConfig = {};

/** Sets the configuration of all calls that are given no `config`. On a server with many users do not use it; pass `config` to each call. */
export function configureApi(config: ApiConfig): void {
  current = config;
}

export function apiConfig(): ApiConfig {
  return current;
}

import type { Comment, Discussion, ErrorBody, Summary } from "../generated/api.js";
import { apiConfig, type ApiConfig } from "./config.js";
import { ApiError } from "./error.js";
import { CallToken } from "./token.js";

/** The options of a call: those of fetch, and whose call it is. */
export interface RequestOptions extends RequestInit {
  config?: ApiConfig;
  /** Ask the token function for a new token at once, because the last one belonged to another user. */
  refreshToken?: boolean;
}

/** The calls that log in, refresh tokens and log out carry what they need. A token function may be waiting for them. */
const WITHOUT_TOKEN = "/auth/";

/**
 * Makes every call of this package (as orval's mutator). After a 401 it asks the token function once for a new token. The calls
 * below `/auth/` get no token.
 */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const { config = apiConfig(), refreshToken = false, ...init } = options;
  const limit = timeLimit(init.signal ?? undefined, config.timeoutMs);
  try {
    const signal = limit.signal;
    const token = await CallToken.of(path.startsWith(WITHOUT_TOKEN) ? {} : config, signal);
    const first = refreshToken && token.canRefresh ? await token.refreshed(signal) : token.value;
    let response = await send(config, path, { ...init, signal }, first);
    if (response.status === 401 && token.canRefresh && !refreshToken) {
      const fresh = await token.refreshed(signal);
      // The server would refuse the same token again.
      if (fresh !== first) response = await send(config, path, { ...init, signal }, fresh);
    }
    if (!response.ok) throw await toError(response);
    return (response.status === 204 ? undefined : await response.json()) as T;
  } finally {
    limit.end();
  }
}

async function send(config: ApiConfig, path: string, init: RequestInit, token: string | null): Promise<Response> {
  const headers = new Headers(config.headers);
  new Headers(init.headers).forEach((value, name) => headers.set(name, value));
  if (token !== null && !headers.has("authorization")) headers.set("authorization", `Bearer ${token}`);
  const call = config.fetch ?? fetch;
  return call((config.baseUrl ?? "") + path, {
    ...init,
    headers,
    cache: "no-store",
    credentials: config.credentials ?? "same-origin",
  });
}

/** A signal that aborts with the caller's signal, or after `ms`. */
function timeLimit(signal: AbortSignal | undefined, ms: number | undefined) {
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort);
  const late = () => controller.abort(new TypeError(`the server did not answer within ${ms} ms`));
  const timer = ms === undefined ? undefined : setTimeout(late, ms);
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
  return { signal: controller.signal, end };
}

async function toError(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => null)) as
    (Partial<ErrorBody> & { current?: Comment | Discussion | Summary }) | null;
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new ApiError(
    response.status,
    body?.code,
    body?.message ?? `the server answered ${response.status}`,
    body?.fields ?? {},
    Number.isFinite(seconds) ? seconds * 1000 : undefined,
    body?.current,
  );
}

/** Options for a generated function: `listComments(1, {}, callOptions(config, { signal }))`. */
export function callOptions(config: ApiConfig, init: Omit<RequestOptions, "config"> = {}): RequestInit {
  const options: RequestOptions = { ...init, config };
  return options;
}

import type { ErrorBody } from "../generated/api.js";
import { apiConfig, type ApiConfig, type TokenSource } from "./config.js";
import { ApiError } from "./error.js";

/** What a call may be given: what fetch takes, and whose call it is. */
export interface RequestOptions extends RequestInit {
  config?: ApiConfig;
}

/** Every call of this package goes through here (orval's mutator). A 401 asks a token function for a fresh token, once. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const { config = apiConfig(), ...init } = options;
  let response = await send(config, path, init, false);
  if (response.status === 401 && typeof config.token === "function") {
    response = await send(config, path, init, true);
  }
  if (!response.ok) throw await toError(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function send(config: ApiConfig, path: string, init: RequestInit, refresh: boolean): Promise<Response> {
  const headers = new Headers(init.headers);
  const token = await resolveToken(config.token, refresh, init.signal ?? undefined);
  if (token !== null && !headers.has("authorization")) headers.set("authorization", `Bearer ${token}`);
  init.signal?.throwIfAborted();
  const send = config.fetch ?? fetch;
  return send((config.baseUrl ?? "") + path, {
    ...init,
    headers,
    cache: "no-store",
    credentials: config.credentials ?? "same-origin",
  });
}

async function resolveToken(source: TokenSource | undefined, refresh: boolean, signal?: AbortSignal) {
  return typeof source === "function" ? await source({ refresh, signal }) : (source ?? null);
}

async function toError(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => null)) as Partial<ErrorBody> | null;
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new ApiError(
    response.status,
    body?.code,
    body?.message ?? `the server answered ${response.status}`,
    body?.fields ?? {},
    Number.isFinite(seconds) ? seconds * 1000 : undefined,
  );
}

/** Options for a generated function: `listComments(1, {}, callOptions(config, { signal }))`. */
export function callOptions(config: ApiConfig, init: RequestInit = {}): RequestInit {
  const options: RequestOptions = { ...init, config };
  return options;
}

import { type ApiConfig, type TokenRequest } from "./config.js";

type TokenFunction = (request: TokenRequest) => string | null | Promise<string | null>;

/** What is known of one token function. */
interface TokenState {
  /** Counts finished refreshes. */
  refreshes: number;
  refreshing: Promise<string | null> | undefined;
  latest: string | null;
}

const states = new WeakMap<TokenFunction, TokenState>();

function stateOf(source: TokenFunction): TokenState {
  let state = states.get(source);
  if (!state) states.set(source, (state = { refreshes: 0, refreshing: undefined, latest: null }));
  return state;
}

/** The token of one call, and a way to get another after the server refused it. */
export class CallToken {
  private constructor(
    readonly value: string | null,
    private readonly source: TokenFunction | undefined,
    private readonly refreshesBefore: number,
  ) {}

  static async of(config: ApiConfig, signal: AbortSignal | undefined): Promise<CallToken> {
    const { token } = config;
    if (typeof token !== "function") return new CallToken(token ?? null, undefined, 0);
    const { refreshes } = stateOf(token);
    return new CallToken(await untilAborted(token({ refresh: false, signal }), signal), token, refreshes);
  }

  get canRefresh(): boolean {
    return this.source !== undefined;
  }

  /** Calls that meet the same expired token share one refresh. No caller's abort ends it for the others. */
  async refreshed(signal: AbortSignal | undefined): Promise<string | null> {
    if (!this.source) return this.value;
    const state = stateOf(this.source);
    if (state.refreshes > this.refreshesBefore) return state.latest;
    state.refreshing ??= refresh(this.source, state);
    return untilAborted(state.refreshing, signal);
  }
}

async function refresh(source: TokenFunction, state: TokenState): Promise<string | null> {
  try {
    const token = await source({ refresh: true });
    state.latest = token;
    state.refreshes += 1;
    return token;
  } finally {
    state.refreshing = undefined;
  }
}

/** A token function may never answer: the caller's signal ends the wait. */
function untilAborted<T>(value: T | Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return Promise.resolve(value);
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort);
    Promise.resolve(value)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", onAbort));
  });
}

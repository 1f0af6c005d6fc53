import { isApiError } from "./api/error.js";
import type { TokenRequest } from "./api/config.js";
import { pageStorage, read, write, type KeptStorage } from "./cache/storage.js";
import { defaultEnvironment, type Environment } from "./live/environment.js";

/** A token is replaced so long before it expires, or a tenth of its life before if that is less. */
const EARLY_MS = 60_000;

/** What the server answers to a log-in and to a refresh, as far as it is needed here. */
export interface LoginTokens {
  access: string;
  refresh: string;
  /** In seconds. */
  expires_in: number;
}

export interface LoginOptions {
  /** Sends a refresh token to `POST /auth/refresh`. A rejection with an `ApiError` of status 401 ends the log-in. */
  refresh: (refreshToken: string) => Promise<LoginTokens>;
  /** Is called in the tab whose refresh was refused: the person must log in again. In the others `token` gives null from then on. */
  onEnded?: () => void;
  /** The name under which all tabs find the tokens. Default: `discussions-login`. */
  name?: string;
  /** Where the tokens are kept. Default: `localStorage`. What it does not take is in the memory of this tab. */
  storage?: KeptStorage | undefined;
  environment?: Pick<Environment, "locks" | "timers">;
}

/** The tokens of one log-in by password, which all tabs share. */
export interface Login {
  /** For `ApiConfig.token`: the token of the log-in, and null if nobody is logged in. */
  token: (request: TokenRequest) => Promise<string | null>;
  /** Begins with the answer of `POST /auth/login`. */
  begin: (tokens: LoginTokens) => void;
  /** Forgets the tokens, and returns the refresh token for `POST /auth/logout`. Null if nobody is logged in. */
  end: () => string | null;
}

interface Kept {
  access: string;
  refresh: string;
  /** When to replace `access`, and when it expires: in milliseconds since 1970, by this machine's clock. */
  replaceAt: number;
  expiresAt: number;
}

/**
 * Keeps the tokens of a log-in, and replaces them before they expire. Only one tab at a time refreshes; the others then find the new
 * tokens. Where a page gets no locks, two tabs may refresh at once, which the server allows for some seconds.
 */
export function createLogin(options: LoginOptions): Login {
  const { refresh, onEnded, name = "discussions-login" } = options;
  const { locks, timers } = options.environment ?? defaultEnvironment();
  const storage = "storage" in options ? options.storage : pageStorage();
  /** What the storage did not take, and what it has instead. */
  let unstored: { tokens: Kept | null; instead: string } | undefined;
  /** The access token that this tab used last. */
  let used: string | undefined;

  const stored = () => JSON.stringify(read(storage, name));
  const kept = (): Kept | null => {
    // If another tab has stored something since, that is newer.
    if (unstored?.instead === stored()) return unstored.tokens;
    const found = read(storage, name);
    return isKept(found) ? found : null;
  };
  const keep = (tokens: Kept | null) => {
    unstored = undefined;
    write(storage, name, tokens ?? undefined);
    if (stored() === JSON.stringify(tokens)) return;
    // The storage is full or forbidden. With the old refresh token, which is used up, another tab would end the log-in.
    write(storage, name, undefined);
    write(storage, name, tokens ?? undefined);
    const instead = stored();
    if (instead !== JSON.stringify(tokens)) unstored = { tokens, instead };
  };
  const begin = ({ access, refresh, expires_in: seconds }: LoginTokens) => {
    const life = seconds * 1000;
    const expiresAt = timers.now() + life;
    keep({ access, refresh, expiresAt, replaceAt: expiresAt - Math.min(EARLY_MS, life / 10) });
  };

  const replace = async (isRefused: boolean): Promise<void> => {
    const now = kept();
    // Another tab was quicker, or has logged out.
    if (!now || (isRefused ? now.access !== used : timers.now() < now.replaceAt)) return;
    try {
      const tokens = await refresh(now.refresh);
      // A log-out or another log-in came meanwhile.
      if (kept()?.refresh === now.refresh) begin(tokens);
    } catch (error) {
      if (isApiError(error) && error.status === 401) {
        if (kept()?.refresh !== now.refresh) return;
        keep(null);
        onEnded?.();
      } else if (isRefused || timers.now() >= now.expiresAt) {
        throw error;
      }
    }
  };

  const withLock = async (action: () => Promise<void>): Promise<void> => {
    if (!locks) return action();
    let failure: { error: unknown } | undefined;
    const held = () => action().catch((error: unknown) => void (failure = { error }));
    await locks.request(`${name}-refresh`, {}, held);
    if (failure) throw failure.error;
  };

  return {
    begin,
    end() {
      const last = kept();
      keep(null);
      return last?.refresh ?? null;
    },
    async token({ refresh: isRefused }) {
      const now = kept();
      if (now && (isRefused || timers.now() >= now.replaceAt)) await withLock(() => replace(isRefused));
      const access = kept()?.access;
      used = access;
      return access ?? null;
    },
  };
}

function isKept(value: unknown): value is Kept {
  if (typeof value !== "object" || value === null) return false;
  const { access, refresh, replaceAt, expiresAt } = value as Record<keyof Kept, unknown>;
  return (
    typeof access === "string" &&
    typeof refresh === "string" &&
    typeof replaceAt === "number" &&
    typeof expiresAt === "number"
  );
}

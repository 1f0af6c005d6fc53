"use client";
import { useQueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useMemo, useRef, useSyncExternalStore, type ReactNode } from "react";
import type { ApiConfig } from "../api/config.js";
import type { Event } from "../generated/api.js";
import type { RealtimeStatus } from "../realtime/status.js";
import type { User } from "./keys.js";
import { Session, type SessionOptions } from "./session.js";

const Context = createContext<Session | null>(null);

export interface RealtimeProviderProps {
  /** Where the server is and who asks. */
  config: ApiConfig;
  /** The signed-in user's id; null for a reader who is not signed in (nothing is live then). */
  user: User;
  /** Settings of the connection; those of the first render count. */
  options?: SessionOptions;
  children: ReactNode;
}

/** Keeps the lists of `useDiscussions` and `useComments` live. Stands below a `QueryClientProvider`. */
export function RealtimeProvider({ config, user, options, children }: RealtimeProviderProps) {
  const queryClient = useQueryClient();
  const latest = useRef(config);
  useEffect(() => {
    latest.current = config;
  });
  const first = useRef(options ?? {});
  const session = useMemo(
    () => new Session(queryClient, user, following(() => latest.current), first.current),
    [queryClient, user],
  );
  useEffect(() => session.start(), [session]);
  const previous = useRef(session);
  useEffect(() => {
    if (previous.current.user !== session.user) previous.current.forget();
    previous.current = session;
  }, [session]);
  return <Context.Provider value={session}>{children}</Context.Provider>;
}

/** A config that reads the latest one, so that an inline object or a new token restarts nothing. */
function following(latest: () => ApiConfig): ApiConfig {
  return {
    get baseUrl() {
      return latest().baseUrl ?? "";
    },
    get token() {
      return latest().token ?? null;
    },
    get credentials() {
      return latest().credentials ?? "same-origin";
    },
    get fetch() {
      return latest().fetch ?? fetch;
    },
  };
}

export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error("useDiscussions and its siblings need a <RealtimeProvider> above them");
  return session;
}

/** How current this page is. */
export function useRealtimeStatus(): RealtimeStatus {
  const { status } = useSession();
  return useSyncExternalStore(status.subscribe, status.get, status.get);
}

/** Calls back once for every event that reaches this tab, after the cache has it. */
export function useRealtimeEvents(listener: (event: Event) => void): void {
  const session = useSession();
  const latest = useRef(listener);
  useEffect(() => {
    latest.current = listener;
  });
  useEffect(() => session.onEvent((event) => latest.current(event)), [session]);
}

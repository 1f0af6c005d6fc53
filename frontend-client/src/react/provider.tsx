"use client";
import { useQueryClient } from "@tanstack/react-query";
import {
  createContext,
  useCallback,
  useContext,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
  type ReactNode,
} from "react";
import type { ApiConfig } from "../core/api/config.js";
import { normalUser, type User } from "../core/cache/keys.js";
import { LiveConnection, type LiveConnectionOptions } from "../core/cache/live-connection.js";
import type { Event } from "../core/generated/api.js";
import type { RealtimeStatus } from "../core/live/status.js";

const Context = createContext<LiveConnection | null>(null);

export interface RealtimeProviderProps {
  /** Where the server is and who asks. */
  config: ApiConfig;
  /** The signed-in user's id at the server. Null for a reader who is not signed in; then nothing is live. */
  user: User;
  /** Settings of the connection. Only those of the first render have an effect. */
  options?: LiveConnectionOptions;
  children: ReactNode;
}

/** Keeps the lists of `useDiscussions` and `useComments` live. Render it below a `QueryClientProvider`. */
export function RealtimeProvider({ config, user, options, children }: RealtimeProviderProps) {
  const queryClient = useQueryClient();
  const first = useRef(options);
  const name = normalUser(user);
  // A connection starts with the config of the render that sets its user, so no call carries the previous user's token.
  // eslint-disable-next-line react-hooks/exhaustive-deps, react-hooks/refs -- `configure` below passes a later config of the same user on
  const connection = useMemo(() => new LiveConnection(queryClient, name, config, first.current), [queryClient, name]);
  // An insertion effect runs before the children's effects, which may fetch.
  useInsertionEffect(() => connection.configure(config), [connection, config]);
  useEffect(() => connection.start(), [connection]);
  const previous = useRef(connection);
  useEffect(() => {
    if (previous.current.user !== connection.user) previous.current.forget();
    previous.current = connection;
  }, [connection]);
  return <Context.Provider value={connection}>{children}</Context.Provider>;
}

export function useLiveConnection(): LiveConnection {
  const connection = useContext(Context);
  if (!connection) throw new Error("useDiscussions and its siblings need a <RealtimeProvider> above them");
  return connection;
}

/** How current the lists of this page are. */
export function useRealtimeStatus(): RealtimeStatus {
  const { status } = useLiveConnection();
  return useSyncExternalStore(status.subscribe, status.get, status.get);
}

/** Returns a function that reconnects at once, also after `signed_out`, and repeats failed fetches. */
export function useReconnect(): () => void {
  const connection = useLiveConnection();
  return useCallback(() => connection.reconnect(), [connection]);
}

/** Calls `listener` once for every event that reaches this tab, after the cache has it. */
export function useRealtimeEvents(listener: (event: Event) => void): void {
  const connection = useLiveConnection();
  const latest = useRef(listener);
  useEffect(() => {
    latest.current = listener;
  });
  useEffect(() => connection.onEvent((event) => latest.current(event)), [connection]);
}

"use client";
import { notifyManager, useQueryClient, type QueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useInsertionEffect, useMemo, useRef, type ReactNode } from "react";
import type { ApiConfig } from "../core/api/config.js";
import { normalUser, type User } from "../core/cache/keys.js";
import { LiveConnection, type LiveConnectionOptions } from "../core/cache/live-connection.js";

const Context = createContext<LiveConnection | null>(null);

export interface RealtimeProviderProps {
  /** Where the server is and who asks. */
  config: ApiConfig;
  /** The signed-in user's id at the server. Null for a reader who is not signed in; then nothing is live. */
  user: User;
  /** Settings of the connection. Only those of the first render have an effect. */
  options?: LiveConnectionOptions;
  /** Called when a fetch fails for good or the server refuses a write, such as to log it. */
  onError?: (error: Error) => void;
  children: ReactNode;
}

/** Keeps the lists of `useDiscussions` and `useComments` live. Render it below a `QueryClientProvider`. */
export function RealtimeProvider({ config, user, options, onError, children }: RealtimeProviderProps) {
  const queryClient = useQueryClient();
  const first = useRef(options);
  const name = normalUser(user);
  // A connection starts with the config of the render that sets its user, so no call carries the previous user's token.
  // eslint-disable-next-line react-hooks/exhaustive-deps, react-hooks/refs -- `configure` below passes a later config of the same user on
  const connection = useMemo(() => connect(queryClient, name, config, first.current), [queryClient, name]);
  // An insertion effect runs before the children's effects, which may fetch.
  useInsertionEffect(() => connection.configure(config), [connection, config]);
  const report = useRef(onError);
  useInsertionEffect(() => {
    report.current = onError;
  });
  useEffect(() => connection.onError((error) => report.current?.(error)), [connection]);
  useEffect(() => connection.start(), [connection]);
  const previous = useRef(connection);
  useEffect(() => {
    if (previous.current.user !== connection.user) previous.current.forget();
    previous.current = connection;
  }, [connection]);
  return <Context.Provider value={connection}>{children}</Context.Provider>;
}

/** All that one answer brings is rendered at once, and not list by list. */
function connect(queryClient: QueryClient, user: User, config: ApiConfig, options?: LiveConnectionOptions) {
  return new LiveConnection(queryClient, user, config, options, notifyManager.batch);
}

export function useLiveConnection(): LiveConnection {
  const connection = useContext(Context);
  if (!connection) throw new Error("useDiscussions and its siblings need a <RealtimeProvider> above them");
  return connection;
}

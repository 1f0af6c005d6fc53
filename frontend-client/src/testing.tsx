"use client";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { normalUser, type User } from "./core/cache/keys.js";
import type { LiveConnectionOptions } from "./core/cache/live-connection.js";
import type {
  CommentTree,
  Discussion,
  Event,
  Summary,
  Unread,
  ViewerInfo,
  ViewerMembership,
} from "./core/generated/api.js";
import { matching } from "./core/mentions.js";
import { withDiscussion } from "./core/reducers/unread-list.js";
import type { CommunityMember, Notification } from "./core/wire.js";
import { RealtimeProvider } from "./react/provider.js";

export interface TestCall {
  method: string;
  /** With the query, such as `/articles/1/discussions?community_id=7`. */
  path: string;
  body: unknown;
}

export interface TestData {
  /** Default: 1. Null for a reader who is not signed in. */
  user?: User;
  discussions?: readonly Discussion[];
  comments?: readonly CommentTree[];
  summaries?: readonly Summary[];
  /** The user's role in every community of the data. Default: member. */
  role?: ViewerMembership["role"];
  /** The user's notifications, newest first. */
  notifications?: readonly Notification[];
  /** Whom the user can mention. */
  members?: readonly CommunityMember[];
  /** The body of the answer to a call that the data does not answer, such as a write. Undefined refuses the call. */
  answer?: (call: TestCall) => unknown;
}

/** An event without its id, which `emit` assigns. */
export type TestEvent = Event extends infer E ? (E extends Event ? Omit<E, "event_id"> : never) : never;

export interface TestProvider {
  Provider: (props: { children: ReactNode }) => ReactNode;
  queryClient: QueryClient;
  /** The calls so far, without those of the connection. */
  calls: TestCall[];
  /** Delivers an event as the server does. */
  emit: (event: TestEvent) => void;
}

/** A provider for component tests, over data in memory instead of a server. */
export function createTestProvider({
  user = 1,
  discussions = [],
  comments = [],
  summaries = [],
  role = "member",
  notifications = [],
  members = [],
  answer,
}: TestData = {}): TestProvider {
  const queryClient = new QueryClient();
  const calls: TestCall[] = [];
  const events: Event[] = [];
  const parked = new Set<() => void>();
  const viewer = viewerOf(user, role, [...discussions, ...summaries]);

  const read = (url: URL): unknown => {
    const [, first, name, second] = url.pathname.split("/");
    const id = Number(name);
    const page = { last_event_id: 0, next_cursor: null, viewer };
    const community = url.searchParams.get("community_id");
    const inList = (one: Discussion) =>
      one.article_id === id && (community === null || one.community_id === Number(community));
    if (first === "articles" && second === "discussions") return { ...page, discussions: discussions.filter(inList) };
    if (first === "articles" && second === "summary")
      return summaries.find((one) => one.article_id === id && one.community_id === Number(community));
    if (first === "unread") {
      const article = url.searchParams.get("article_id");
      const isOf = (one: Discussion) =>
        (community === null || one.community_id === Number(community)) &&
        (article === null || one.article_id === Number(article));
      return unreadOf(discussions.filter(isOf));
    }
    if (first === "follows") return { follows: [], last_event_id: 0, next_cursor: null };
    if (first === "notifications") {
      const unread = notifications.filter(({ is_read }) => !is_read);
      const listed = url.searchParams.get("unread") === "true" ? unread : notifications;
      return { notifications: listed, unread_count: unread.length, last_event_id: 0, next_cursor: null };
    }
    if (first === "communities") return { members: matching(members, url.searchParams.get("prefix") ?? "") };
    if (first !== "discussions") return undefined;
    if (second === undefined) return discussions.find((one) => one.id === id);
    return { ...page, continues: false, comments: comments.filter((one) => one.discussion_id === id) };
  };
  const call: typeof fetch = async (input, init = {}) => {
    const url = new URL(String(input), "http://test");
    const { method = "GET" } = init;
    const connection = await connect(url, init.signal ?? undefined);
    if (connection !== undefined) return Response.json(connection);
    const body: unknown = typeof init.body === "string" ? JSON.parse(init.body) : undefined;
    const made: TestCall = { method, path: url.pathname + url.search, body };
    calls.push(made);
    const found = (method === "GET" ? read(url) : undefined) ?? answer?.(made);
    if (found === undefined)
      return Response.json({ code: "not_found", message: "the test has no answer" }, { status: 404 });
    return Response.json(found);
  };
  const connect = async ({ pathname: path, searchParams }: URL, signal: AbortSignal | undefined): Promise<unknown> => {
    if (path === "/register")
      return {
        queue_id: "test",
        last_event_id: 0,
        communities: [],
        heartbeat_interval_seconds: 60,
        poll_timeout_seconds: 55,
      };
    if (path === "/session") return { user: { id: viewer?.user_id, username: "", avatar_url: null }, communities: [] };
    if (path.endsWith("/watch")) return { communities: [] };
    if (path === "/heartbeat" || path.startsWith("/queues/")) return {};
    if (path !== "/poll") return undefined;
    const cursor = Number(searchParams.get("last_event_id"));
    if (cursor === events.length && searchParams.get("timeout") !== "0") await untilEvent(signal);
    return { events: events.slice(cursor), last_event_id: events.length };
  };
  const untilEvent = (signal: AbortSignal | undefined) =>
    new Promise<void>((resolve, reject) => {
      parked.add(resolve);
      signal?.addEventListener("abort", () => {
        parked.delete(resolve);
        reject(signal.reason as Error);
      });
    });
  const Provider = ({ children }: { children: ReactNode }) => (
    <QueryClientProvider client={queryClient}>
      <RealtimeProvider config={{ fetch: call }} user={user} options={alone}>
        {children}
      </RealtimeProvider>
    </QueryClientProvider>
  );
  const emit = (event: TestEvent) => {
    events.push({ ...event, event_id: events.length + 1 });
    for (const wake of [...parked]) wake();
    parked.clear();
  };
  return { Provider, queryClient, calls, emit };
}

/** The tests of a file share no drafts, and their tabs do not hear each other. */
const alone: LiveConnectionOptions = { storage: null, environment: { locks: undefined, openChannel: undefined } };

/** What of the data is unread, as `GET /unread` answers. */
function unreadOf(discussions: readonly Discussion[]): Unread {
  const nothing: Unread = { communities: [], articles: [], discussions: [], last_event_id: 0, next_cursor: null };
  return discussions.reduce((list, one) => {
    const { id, community_id, article_id, comment_version, first_unread_comment_id } = one;
    const { topic, is_unread, unread_count } = one;
    const place = { id, community_id, article_id, topic: topic ?? "" };
    const state = { is_unread: is_unread ?? false, unread_count: unread_count ?? 0 };
    return withDiscussion(list, id, { ...place, ...state, first_unread_comment_id, comment_version }) ?? list;
  }, nothing);
}

/** A member of every community of the data. */
function viewerOf(
  user: User,
  role: ViewerMembership["role"],
  data: readonly Pick<Discussion, "community_id">[],
): ViewerInfo | null {
  const user_id = normalUser(user);
  if (typeof user_id !== "number") return null;
  const joined_at = new Date(0).toISOString();
  const communities = new Set(data.map((one) => one.community_id));
  return {
    user_id,
    memberships: [...communities].map((community_id) => ({
      community_id,
      role,
      pseudonym: null,
      joined_at,
      follow_level: "default",
    })),
  };
}

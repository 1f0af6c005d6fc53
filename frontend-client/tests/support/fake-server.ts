import type {
  Author,
  CommunityMember,
  FollowLevel,
  NewDiscussion,
  NotificationMarks,
  ViewerInfo,
  VoteValue,
} from "../../src/index.js";
import { coded, COMMUNITY, JOINED, Model, READER, type NewReads } from "./model.js";

interface Parked {
  queue: string;
  cursor: number;
  answer: (response: Response) => void;
}

/** A server behind a `fetch` function, with long polls and with faults that tests inject. */
export class FakeServer {
  readonly model = new Model();
  readonly requests: { method: string; path: string; headers: Headers; body?: unknown; keepalive?: boolean }[] = [];
  readonly queues = new Set<string>();
  readonly parked: Parked[] = [];
  /** If it returns an answer, that replaces the server's answer. "down" means that no server answers. */
  trouble: ((path: string, method: string, headers: Headers) => Response | "down" | undefined) | undefined;
  /** The buffer no longer has the events up to this one. */
  forgotten = 0;
  /** The user of calls whose token names nobody. The token `user-2` belongs to user 2, and `anonymous` to nobody. */
  viewer: ViewerInfo = {
    user_id: 1,
    memberships: [
      { community_id: COMMUNITY, role: "member", pseudonym: null, joined_at: JOINED, follow_level: "default" },
    ],
  };
  me: Author = { id: 1, username: "ada", avatar_url: null };
  /** Whom one can mention. */
  members: CommunityMember[] = [];
  /** The communities that may be watched; undefined for an older server. */
  canWatch: readonly number[] | undefined = undefined;
  /** The answers of writes wait for this promise. */
  writesAfter: Promise<void> = Promise.resolve();
  /** Lists and threads are read at once, and their answers wait for this promise. */
  readsAfter: Promise<void> = Promise.resolve();
  /** By queue: the communities whose events it gets. */
  readonly #coverage = new Map<string, number[]>();
  /** By queue: it gets no event up to this one, because it watched the community only then. */
  readonly #coveredFrom = new Map<string, number>();
  readonly #answered = new Map<string, unknown>();
  #last = 0;

  readonly fetch: typeof fetch = async (input, init) => {
    const url = new URL(String(input), "http://fake");
    const method = init?.method ?? "GET";
    const headers = new Headers(init?.headers);
    const body = init?.body ? (JSON.parse(String(init.body)) as Record<string, never>) : {};
    const keepalive = init?.keepalive ?? false;
    this.requests.push({ method, path: url.pathname, headers, body, keepalive });
    init?.signal?.throwIfAborted();
    const trouble = this.trouble?.(url.pathname, method, headers);
    if (trouble === "down") throw new TypeError("fetch failed");
    if (trouble) return trouble;
    if (url.pathname === "/poll") return this.#poll(url.searchParams, init?.signal ?? undefined);
    const response = this.#route(method, url, body, headers);
    if (method !== "GET" && !/register|heartbeat|queues/.test(url.pathname)) await this.writesAfter;
    if (method === "GET" && /comments$|discussions$/.test(url.pathname)) await this.readsAfter;
    return response;
  };

  count(path: RegExp, method?: string): number {
    return this.requests.filter((one) => path.test(one.path) && (!method || one.method === method)).length;
  }

  /** Answers the parked polls that have new events. */
  deliver(): void {
    for (const poll of this.parked.splice(0)) {
      if (this.#hasNews(poll)) poll.answer(this.#events(poll.cursor, poll.queue));
      else this.parked.push(poll);
    }
  }

  /** Answers parked polls with an empty list, as a graceful shutdown or a time-out does. */
  releasePolls(): void {
    for (const poll of this.parked.splice(0)) poll.answer(this.#events(poll.cursor, poll.queue));
  }

  /** Deletes the queues and ends their parked polls. */
  expire(): void {
    this.queues.clear();
    for (const poll of this.parked.splice(0)) poll.answer(coded(404, "queue_not_found"));
  }

  #poll(query: URLSearchParams, signal?: AbortSignal): Promise<Response> {
    const queue = query.get("queue_id") ?? "";
    const cursor = Number(query.get("last_event_id"));
    if (!this.queues.has(queue)) return Promise.resolve(coded(404, "queue_not_found"));
    if (this.#hasNews({ queue, cursor }) || query.get("timeout") === "0")
      return Promise.resolve(this.#events(cursor, queue));
    return new Promise((answer, reject) => {
      const poll = { queue, cursor, answer };
      this.parked.push(poll);
      signal?.addEventListener("abort", () => {
        const at = this.parked.indexOf(poll);
        if (at >= 0) this.parked.splice(at, 1);
        reject(signal.reason as Error);
      });
    });
  }

  #hasNews({ queue, cursor }: Pick<Parked, "queue" | "cursor">): boolean {
    return this.#lacks(cursor) || (this.#isCovered(queue) && cursor < this.model.head);
  }

  #isCovered(queue: string): boolean {
    return this.canWatch === undefined || (this.#coverage.get(queue)?.includes(COMMUNITY) ?? false);
  }

  #lacks(cursor: number): boolean {
    return cursor < Math.max(this.forgotten, this.model.base) || cursor > this.model.head;
  }

  #events(cursor: number, queue: string): Response {
    if (this.#lacks(cursor)) return Response.json({ catchup_required: true });
    const events = this.#isCovered(queue) ? this.model.since(Math.max(cursor, this.#coveredFrom.get(queue) ?? 0)) : [];
    return Response.json({ events, last_event_id: this.model.head });
  }

  #covered(viewer: ViewerInfo | null, watch: readonly number[]): number[] {
    const own = viewer?.memberships.map((one) => one.community_id) ?? [];
    return [...new Set([...own, ...watch.filter((id) => this.canWatch?.includes(id))])];
  }

  #viewerOf(headers: Headers): ViewerInfo | null {
    const token = headers.get("authorization")?.slice("Bearer ".length) ?? "";
    if (token === "anonymous") return null;
    const user_id = Number(/^user-(\d+)/.exec(token)?.[1] ?? this.viewer.user_id);
    return { ...this.viewer, user_id };
  }

  #route(method: string, url: URL, body: Record<string, never>, headers: Headers): Response {
    const [, first, id, second] = url.pathname.split("/");
    const query = url.searchParams;
    const viewer = this.#viewerOf(headers);
    const page = [query.get("cursor"), Number(query.get("limit") ?? 20), viewer] as const;
    const around = query.has("around") ? Number(query.get("around")) : undefined;
    const made = (value: unknown, status = 200) => (value ? Response.json(value, { status }) : coded(404, "not_found"));
    const done = () => new Response(null, { status: 204 });
    const route = `${method} ${first}${second ? `/${second}` : ""}`;
    const found = this.model.discussions.find((one) => one.id === Number(id));
    switch (route) {
      case "POST discussions/read":
        if (!found || !viewer) return coded(404, "discussion_not_found");
        this.model.markRead(Number(id), body as NewReads, viewer);
        return done();
      case "POST discussions/unread":
        if (!found || !viewer) return coded(404, "discussion_not_found");
        this.model.markUnread(Number(id), body["from_comment_id"] ?? null, viewer);
        return done();
      case "POST articles/read":
        this.model.markArticleRead(viewer ?? undefined);
        return done();
      case "GET unread":
        return viewer
          ? made(this.model.unread(viewer, Number(query.get("limit") ?? 20), query.get("followed") === "true"))
          : coded(401, "token_missing");
      case "GET follows":
        return viewer ? made(this.model.follows()) : coded(401, "token_missing");
      case "PUT discussions/follow":
        return made(this.model.follow(Number(id), body["level"] as unknown as FollowLevel));
      case "PUT articles/follow":
        return made(this.model.follow(null, body["level"] as unknown as FollowLevel));
      case "GET notifications":
        return viewer
          ? made(this.model.notificationPage(query.get("cursor"), page[1], query.get("unread") === "true"))
          : coded(401, "token_missing");
      case "POST notifications":
        this.model.readNotifications(body as NotificationMarks);
        return done();
      case "GET communities/members": {
        const start = (query.get("prefix") ?? "").toLowerCase();
        return made({
          members: this.members.filter(({ handle }) => handle.toLowerCase().startsWith(start)).slice(0, 20),
        });
      }
      case "PUT queues/watch":
        if (this.canWatch === undefined) return coded(404, "not_found");
        if (!this.queues.has(id ?? "")) return coded(404, "queue_not_found");
        if (!this.#isCovered(id ?? "")) this.#coveredFrom.set(id ?? "", this.model.head);
        this.#coverage.set(id ?? "", this.#covered(viewer, (body as { community_ids?: number[] }).community_ids ?? []));
        return made({ communities: this.#coverage.get(id ?? ""), last_event_id: this.model.head });
      case "POST register": {
        const queue_id = `queue-${(this.#last += 1)}`;
        this.queues.add(queue_id);
        const communities = this.#covered(viewer, (body as { watch?: number[] }).watch ?? []);
        if (communities.length === 0 && this.canWatch) return coded(403, "no_communities");
        this.#coverage.set(queue_id, communities);
        return made({
          queue_id,
          last_event_id: this.model.head,
          communities,
          heartbeat_interval_seconds: 60,
          poll_timeout_seconds: 55,
        });
      }
      case "GET session":
        return viewer
          ? made({ user: { id: viewer.user_id, username: "", avatar_url: null }, communities: [] })
          : coded(401, "token_missing");
      case "POST heartbeat":
        return this.queues.has(body["queue_id"] as unknown as string) ? done() : coded(404, "queue_not_found");
      case "POST queues/close":
        this.queues.delete(id ?? "");
        return done();
      case "GET articles/discussions":
        return made(this.model.discussionPage(...page));
      case "POST articles/discussions": {
        const { topic, text } = body as unknown as NewDiscussion;
        return made(structuredClone(this.model.createDiscussion(topic, text, this.me)), 201);
      }
      case "GET articles/summary":
        return this.model.summary ? made(this.model.summary) : coded(404, "summary_not_found");
      case "PUT articles/summary": {
        const current = this.model.summary;
        const { text, if_updated_at: read } = body as { text?: string; if_updated_at?: string };
        if (!viewer?.memberships.some(({ role }) => role === "admin")) return coded(403, "not_allowed");
        if (!current && read !== undefined) return coded(404, "summary_not_found");
        const isRefused = headers.get("if-none-match") === "*" || (read !== undefined && read !== current?.updated_at);
        if (current && isRefused)
          return Response.json({ code: "changed_meanwhile", message: "it was changed", current }, { status: 412 });
        return made(this.model.writeSummary(text?.trim() ?? "", { ...this.me, id: viewer.user_id }));
      }
      case "DELETE articles/summary": {
        const current = this.model.summary;
        const read = headers.get("if-match");
        if (current && read !== null && read !== `"${Date.parse(current.updated_at) * 1000}"`)
          return Response.json({ code: "changed_meanwhile", message: "it was changed", current }, { status: 412 });
        this.model.deleteSummary();
        return done();
      }
      case "GET discussions":
        return made(found && this.model.shown(found, viewer));
      case "PATCH discussions":
        return (
          outdated(this.model.discussions, id, body) ?? made(this.model.updateDiscussion(Number(id), body, this.me))
        );
      case "DELETE discussions":
        return this.model.deleteDiscussion(Number(id)) ? done() : coded(404, "discussion_not_found");
      case "GET discussions/comments":
        return around !== undefined && !this.model.comments.some((one) => one.id === around)
          ? coded(404, "comment_not_found")
          : made(this.model.commentPage(Number(id), ...page, around));
      case "POST discussions/comments": {
        const key = headers.get("idempotency-key") ?? "";
        if (!this.#answered.has(key)) {
          this.#answered.set(
            key,
            this.model.createComment(Number(id), body["parent_id"] ?? null, body["text"] as unknown as string, this.me),
          );
        }
        return made(this.#answered.get(key), 201);
      }
      case "PATCH comments":
        return (
          outdated(this.model.comments, id, body) ??
          made(this.model.updateComment(Number(id), body["text"] as unknown as string))
        );
      case "PUT comments/vote":
      case "PUT discussions/vote": {
        const kind = route === "PUT comments/vote" ? "comments" : "discussions";
        const value = body["value"] as unknown as VoteValue;
        const timestamp = this.model.vote(kind, Number(id), READER, value);
        const { upvotes, downvotes } = this.model[kind].find((one) => one.id === Number(id)) ?? {};
        return timestamp
          ? made({ upvotes, downvotes, own_vote: value, timestamp })
          : coded(409, kind === "comments" ? "comment_deleted" : "discussion_deleted");
      }
      case "DELETE comments":
        return this.model.deleteComment(Number(id)) ? done() : coded(404, "comment_not_found");
    }
    return coded(404, "not_found");
  }
}

/** The refusal of a change whose version is outdated. */
function outdated(
  items: readonly { id: number; updated_at: string }[],
  id: string | undefined,
  body: { if_updated_at?: string },
): Response | undefined {
  const current = items.find((one) => one.id === Number(id));
  const read = body.if_updated_at;
  if (!current || read === undefined || read === current.updated_at) return undefined;
  return Response.json({ code: "changed_meanwhile", message: "it was changed", current }, { status: 412 });
}

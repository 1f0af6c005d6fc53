import type { InfiniteData, Query, QueryClient } from "@tanstack/react-query";
import { mapChanged, type KnownEvent } from "../events.js";
import type { CommentPage, Discussion, DiscussionPage } from "../generated/api.js";
import type { EventLog } from "../live/log.js";
import { foldComments } from "../reducers/comments.js";
import { foldDiscussion, foldDiscussions } from "../reducers/discussions.js";
import { isFor, keys, normalUser, subjectOf, type Subject, type User } from "./keys.js";
import type { Page } from "./queries.js";

export type CachedPages<P extends Page = Page> = InfiniteData<P, string | null>;

/** A snapshot without events gets a newer cursor when it is this far behind, before the log drops the events after its cursor. */
const LAG = 250;

/**
 * Keeps every cached snapshot current up to the log's head, and removes those that were made for another user.
 *
 * It works on the query cache and not in query functions. Whenever a snapshot enters the cache, by a fetch, a further page or
 * hydration, it is folded with the events after its own `last_event_id`.
 */
export class CacheSync {
  readonly #unsubscribe: () => void;
  readonly #user: User;

  constructor(
    private readonly client: QueryClient,
    user: User,
    private readonly log: EventLog,
  ) {
    this.#user = normalUser(user);
    this.#unsubscribe = client.getQueryCache().subscribe((event) => {
      const landed =
        event.type === "added" || (event.type === "updated" && event.action.type === "success" && !event.action.manual);
      // Hydration over an older snapshot uses `setState`, which has its own action type.
      const hydrated = event.type === "updated" && event.action.type === "setState";
      if (landed || hydrated) this.#sync(event.query);
    });
    this.syncAll();
  }

  close(): void {
    this.#unsubscribe();
  }

  /** The oldest cursor of this user's cached snapshots. */
  static oldestCursor(client: QueryClient, user: User): number | undefined {
    const cursors = cached(client, user)
      .filter(([, , data]) => isOwn(user, data))
      .flatMap(([, , data]) => data.pages.map((page) => page.last_event_id));
    return cursors.length > 0 ? Math.min(...cursors) : undefined;
  }

  /** Brings all cached snapshots up to the log's head. */
  syncAll(): void {
    for (const [query] of cached(this.client, this.#user)) this.#sync(query);
  }

  /** Fetches everything again. The promise settles when the lists on screen have their answers. */
  async refetchAll(): Promise<void> {
    await this.client.invalidateQueries({ queryKey: keys.all(this.#user) });
  }

  /** Repeats failed fetches. */
  async refetchFailed(): Promise<void> {
    await this.client.invalidateQueries({
      queryKey: keys.all(this.#user),
      predicate: (query) => query.state.error !== null,
    });
  }

  #sync(query: Query): void {
    const subject = subjectOf(query.queryKey);
    const data = query.state.data as CachedPages | undefined;
    if (!subject || subject.user !== this.#user || !data) return;
    if (!isOwn(this.#user, data)) {
      // Reset it after the cache's notification, which would otherwise report a state that no longer exists.
      queueMicrotask(() => void this.client.resetQueries({ queryKey: query.queryKey, exact: true }));
      return;
    }
    if (this.log.head === undefined) return;
    const oldest = Math.min(...data.pages.map((page) => page.last_event_id));
    const events = this.log.since(oldest);
    const pages = events && foldPages(data.pages, subject, events, communityOf(this.client, subject));
    if (!pages) {
      void this.client.invalidateQueries({ queryKey: query.queryKey, exact: true }, { cancelRefetch: false });
      return;
    }
    const head = this.log.head;
    const moved =
      head - oldest > LAG
        ? pages.map((page) => ({ ...page, last_event_id: Math.max(page.last_event_id, head) }))
        : pages;
    if (moved === data.pages) return;
    this.client.setQueryData<CachedPages>(
      query.queryKey,
      { ...data, pages: moved },
      { updatedAt: query.state.dataUpdatedAt },
    );
  }
}

/** Whether every page was made for this user. */
export function isOwn(user: User, data: CachedPages): boolean {
  return data.pages.every((page) => isFor(user, page.viewer));
}

/** The pages after the events, or undefined if they must be fetched again. */
function foldPages(
  pages: Page[],
  subject: Subject,
  events: readonly KnownEvent[],
  community?: number,
): Page[] | undefined {
  if (subject.kind === "discussions") {
    return events.reduce<readonly DiscussionPage[]>(
      (folded, event) => foldDiscussions(folded, subject.scope, event),
      pages as DiscussionPage[],
    ) as Page[];
  }
  if (subject.kind === "discussion") {
    return mapChanged(pages as DiscussionPage[], (page) => events.reduce(foldDiscussion, page));
  }
  let folded: readonly CommentPage[] = pages as CommentPage[];
  for (const event of events) {
    const next = foldComments(folded, subject.discussionId, event, community);
    if (next.kind === "refetch") return undefined;
    folded = next.value;
  }
  return folded as Page[];
}

/** The community of a discussion, if a cached list has the discussion. */
function communityOf(client: QueryClient, subject: Subject): number | undefined {
  return subject.kind === "comments"
    ? findDiscussion(client, subject.user, subject.discussionId)?.community_id
    : undefined;
}

/** A discussion in one of the user's cached lists. */
export function findDiscussion(client: QueryClient, user: User, discussionId: number): Discussion | undefined {
  return findPageOf(client, user, discussionId)?.discussions[0];
}

/** The same discussion in a page of its own, with the cursor of its list. */
export function findPageOf(client: QueryClient, user: User, discussionId: number): DiscussionPage | undefined {
  for (const [, subject, data] of cached(client, user)) {
    if (subject.kind === "comments" || !isOwn(user, data)) continue;
    for (const page of data.pages as DiscussionPage[]) {
      const found = page.discussions.find((discussion) => discussion.id === discussionId);
      if (found) return { ...page, discussions: [found], next_cursor: null };
    }
  }
  return undefined;
}

function cached(client: QueryClient, user: User): [Query, Subject, CachedPages][] {
  return client
    .getQueryCache()
    .findAll({ queryKey: keys.all(user) })
    .flatMap((query) => {
      const subject = subjectOf(query.queryKey);
      const data = query.state.data as CachedPages | undefined;
      return subject && data ? [[query, subject, data] as [Query, Subject, CachedPages]] : [];
    });
}

import type { InfiniteData, Query, QueryClient } from "@tanstack/react-query";
import type { CommentPage, DiscussionPage, Event } from "../generated/api.js";
import type { EventLog } from "../realtime/log.js";
import { foldComments } from "../reducers/comments.js";
import { foldDiscussions } from "../reducers/discussions.js";
import { keys, subjectOf, type Subject, type User } from "./keys.js";

type Page = DiscussionPage | CommentPage;
type Cached = InfiniteData<Page, string | null>;

/** Cursors of quiet snapshots move on when they are this far behind, before the log forgets what they would need. */
const LAG = 250;

/**
 * Keeps every cached snapshot at the log's head.
 *
 * It works on the query cache, not in query functions: whenever a snapshot lands, by a fetch, a further page or
 * hydration, it is folded with the events since its own `last_event_id`, whatever arrived in between.
 */
export class CacheSync {
  readonly #off: () => void;

  constructor(
    private readonly client: QueryClient,
    private readonly user: User,
    private readonly log: EventLog,
  ) {
    this.#off = client.getQueryCache().subscribe((event) => {
      const landed = event.type === "added" || (event.type === "updated" && event.action.type === "success" && !event.action.manual);
      if (landed) this.#sync(event.query);
    });
  }

  close(): void {
    this.#off();
  }

  /** The oldest cursor among the snapshots that are cached. */
  static oldestCursor(client: QueryClient, user: User): number | undefined {
    const cursors = cached(client, user).flatMap(([, , data]) => data.pages.map((page) => page.last_event_id));
    return cursors.length > 0 ? Math.min(...cursors) : undefined;
  }

  /** Brings everything that is cached up to the log's head. */
  syncAll(): void {
    for (const [query] of cached(this.client, this.user)) this.#sync(query);
  }

  /** Fetches everything anew; settles when what is on screen is there. */
  async refetchAll(): Promise<void> {
    await this.client.invalidateQueries({ queryKey: keys.all(this.user) });
  }

  #sync(query: Query): void {
    const subject = subjectOf(query.queryKey);
    const data = query.state.data as Cached | undefined;
    if (!subject || subject.user !== this.user || !data || this.log.head === undefined) return;
    const oldest = Math.min(...data.pages.map((page) => page.last_event_id));
    const events = this.log.since(oldest);
    const pages = events && foldPages(data.pages, subject, events);
    if (!pages) {
      void this.client.invalidateQueries({ queryKey: query.queryKey, exact: true }, { cancelRefetch: false });
      return;
    }
    const head = this.log.head;
    const moved = head - oldest > LAG ? pages.map((page) => ({ ...page, last_event_id: Math.max(page.last_event_id, head) })) : pages;
    if (moved === data.pages) return;
    this.client.setQueryData<Cached>(query.queryKey, { ...data, pages: moved }, { updatedAt: query.state.dataUpdatedAt });
  }
}

/** The pages at the end of the events, or undefined when they have to be fetched. */
function foldPages(pages: Page[], subject: Subject, events: readonly Event[]): Page[] | undefined {
  if (subject.kind === "discussions") {
    return events.reduce<readonly DiscussionPage[]>(
      (folded, event) => foldDiscussions(folded, subject.scope, event),
      pages as DiscussionPage[],
    ) as Page[];
  }
  let folded: readonly CommentPage[] = pages as CommentPage[];
  for (const event of events) {
    const next = foldComments(folded, subject.discussionId, event);
    if (next.kind === "refetch") return undefined;
    folded = next.value;
  }
  return folded as Page[];
}

function cached(client: QueryClient, user: User): [Query, Subject, Cached][] {
  return client
    .getQueryCache()
    .findAll({ queryKey: keys.all(user) })
    .flatMap((query) => {
      const subject = subjectOf(query.queryKey);
      const data = query.state.data as Cached | undefined;
      return subject && data ? [[query, subject, data] as [Query, Subject, Cached]] : [];
    });
}

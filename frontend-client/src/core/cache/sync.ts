import type { InfiniteData, Query, QueryClient } from "@tanstack/react-query";
import { isAbort } from "../api/error.js";
import { mapChanged, type KnownEvent } from "../events.js";
import type { CommentPage, Discussion, DiscussionPage, Unread } from "../generated/api.js";
import type { Follows, Notifications } from "../wire.js";
import { systemTimers, type Timers } from "../live/environment.js";
import type { EventLog } from "../live/log.js";
import { foldComments } from "../reducers/comments.js";
import { foldDiscussion, foldDiscussions } from "../reducers/discussions.js";
import { foldFollows, isFollowUnknown } from "../reducers/follows.js";
import { foldNotifications, isIncomplete } from "../reducers/notifications.js";
import { isUnknown } from "../reducers/unread.js";
import { foldSummary, type SummarySnapshot } from "../reducers/summary.js";
import { foldUnread } from "../reducers/unread-list.js";
import { isMine, membershipIn } from "../viewer.js";
import {
  cached,
  communitiesOf,
  communityOf,
  findDiscussion,
  isOwn,
  replacePages,
  summaries,
  unreadIn,
  type CachedPages,
} from "./cached.js";
import {
  followScopeOf,
  isFor,
  keys,
  normalUser,
  notificationScopeOf,
  subjectOf,
  summaryScopeOf,
  unreadScopeOf,
  type Subject,
  type User,
} from "./keys.js";
import type { Page } from "./queries.js";

/** A snapshot without events gets a newer cursor when it is this far behind, before the log drops the events after its cursor. */
const LAG = 250;

/** What events left unknown is fetched again this long after it, once for many events. */
const REFETCH_MS = 1_000;
/**
 * A list of what is unread, which more events leave unknown, is not fetched again sooner after the last time. The time doubles as
 * long as the list is fetched that often.
 */
const UNREAD_SPACING_MS = 4_000;
/** If it is unknown again and again, the fetches come less and less often, down to this. */
const REFETCH_CAP_MS = 60_000;

/** By query: its first data, before any event was folded into it. */
const firstData = new WeakMap<Query, CachedPages>();

/** What a list had when it entered the cache. If it was hydrated, a server rendered the page with this. */
export function asHydrated(client: QueryClient, queryKey: readonly unknown[]): CachedPages | undefined {
  const query = client.getQueryCache().find({ queryKey, exact: true });
  return query && (firstData.get(query) ?? (query.state.data as CachedPages | undefined));
}

/**
 * Keeps every cached snapshot current up to the log's head, and removes those that were made for another user.
 *
 * It works on the query cache and not in query functions. Whenever a snapshot enters the cache, by a fetch, a further page or
 * hydration, it is folded with the events after its own `last_event_id`.
 */
export class CacheSync {
  readonly #unsubscribe: () => void;
  readonly #user: User;
  /** By pages: the head up to which they are current, and the log's resets at that time. No event is folded twice. */
  readonly #current = new WeakMap<readonly object[], { head: number; resets: number }>();
  /** By query with something unknown: how often it was fetched because of that, and the timer of the next fetch. */
  readonly #unknown = new Map<Query, { fetches: number; timer: unknown }>();
  /** By query: when it was last fetched because something was unknown. */
  readonly #fetchedAt = new WeakMap<Query, number>();
  /** By community in which the user is no member, and whose events come: the event from which on all of them do. */
  readonly #watchedSince = new Map<number, number>();
  /** By list of what is unread: the least time between two fetches. */
  readonly #spacings = new WeakMap<Query, number>();

  constructor(
    private readonly client: QueryClient,
    user: User,
    private readonly log: EventLog,
    private readonly onError: (error: Error) => void = () => undefined,
    private readonly timers: Timers = systemTimers,
  ) {
    this.#user = normalUser(user);
    this.#unsubscribe = client.getQueryCache().subscribe((event) => {
      const landed =
        event.type === "added" || (event.type === "updated" && event.action.type === "success" && !event.action.manual);
      // Hydration over an older snapshot uses `setState`, which has its own action type.
      const hydrated = event.type === "updated" && event.action.type === "setState";
      if (landed || hydrated) this.#sync(event.query, true);
      if (event.type === "removed") this.#isKnown(event.query);
      if (event.type === "updated" && event.action.type === "error") this.#failed(event.query, event.action.error);
    });
    this.syncAll();
  }

  close(): void {
    this.#unsubscribe();
    for (const query of [...this.#unknown.keys()]) this.#isKnown(query);
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
    // These look into the lists.
    for (const query of this.client.getQueryCache().findAll({ queryKey: keys.all(this.#user) })) {
      this.#syncUnread(query);
      this.#syncFollows(query);
      this.#syncNotifications(query);
      this.#syncSummary(query);
    }
  }

  /** From now on the events of these communities come, from `since` on. A list that is older lacks some, so it is fetched again. */
  cover(communities: ReadonlySet<number>, since: number): void {
    for (const id of [...this.#watchedSince.keys()]) if (!communities.has(id)) this.#watchedSince.delete(id);
    const added = [...communities].filter((id) => !this.#watchedSince.has(id));
    for (const id of added) this.#watchedSince.set(id, since);
    for (const [query, subject, data] of cached(this.client, this.#user))
      if (this.#lacksEvents(subject, data, added)) this.#refetchNow(query);
    for (const [query, scope, snapshot] of summaries(this.client, this.#user))
      if (added.includes(scope.communityId) && this.#isFromBefore(scope.communityId, snapshot)) this.#refetchNow(query);
  }

  /** Whether the user is no member of a community of the list, and the list is from before its events came. */
  #lacksEvents(subject: Subject, data: CachedPages, among?: readonly number[]): boolean {
    return communitiesOf(this.client, subject, data).some(
      (id) => (!among || among.includes(id)) && data.pages.some((page) => this.#isFromBefore(id, page)),
    );
  }

  /** Whether the user is no member of the community, and the snapshot is from before its events came. */
  #isFromBefore(communityId: number, { last_event_id, viewer }: Pick<Page, "last_event_id" | "viewer">): boolean {
    const since = this.#watchedSince.get(communityId);
    return since !== undefined && last_event_id < since && membershipIn(viewer, communityId) === undefined;
  }

  /** Fetches everything again. The promise settles when the lists on screen have their answers. */
  async refetchAll(): Promise<void> {
    await this.client.invalidateQueries({ queryKey: keys.all(this.#user) });
  }

  /** Repeats the failed fetches whose error `mayPass`. */
  async refetchFailed(mayPass: (error: Error) => boolean = () => true): Promise<void> {
    await this.client.invalidateQueries({
      queryKey: keys.all(this.#user),
      predicate: ({ state }) => state.error !== null && mayPass(state.error),
    });
  }

  #failed(query: Query, error: Error): void {
    const key = query.queryKey;
    const { user } =
      subjectOf(key) ??
      unreadScopeOf(key) ??
      followScopeOf(key) ??
      notificationScopeOf(key) ??
      summaryScopeOf(key) ??
      {};
    if (user === this.#user && !isCancelled(error)) this.onError(error);
  }

  /** Keeps a list of what is unread current. What events do not say is fetched again, but not for every event. */
  #syncUnread(query: Query): void {
    const list = query.state.data as Unread | undefined;
    const { user, scope } = unreadScopeOf(query.queryKey) ?? {};
    if (!list || !scope || user !== this.#user || typeof user !== "number") return;
    const events = this.log.head === undefined ? [] : this.log.since(list.last_event_id);
    const lookup = (id: number) => unreadIn(this.client, user, id, scope.followed);
    const folded = events && foldUnread(list, scope, events, user, lookup);
    if (!folded) return this.#refetchLater(query, true);
    this.#isKnown(query);
    if (folded !== list) query.setState({ data: folded });
  }

  #syncFollows(query: Query): void {
    const list = query.state.data as Follows | undefined;
    const { user, scope } = followScopeOf(query.queryKey) ?? {};
    if (!list || !scope || user !== this.#user || typeof user !== "number" || this.log.head === undefined) return;
    const events = this.log.since(list.last_event_id);
    if (!events) return this.#refetchNow(query);
    const folded = foldFollows(list, scope, events, user, (event) => this.#wrote(event));
    if (folded.list !== list) query.setState({ data: folded.list });
    if (!folded.isComplete) this.#refetchNow(query);
  }

  /** Whether the user wrote it, as far as the cache knows the user's pseudonym. */
  #wrote({ author, article_id, community_id }: Pick<Discussion, "author" | "article_id" | "community_id">): boolean {
    if (!author || author.id !== null) return author?.id === this.#user;
    return cached(this.client, this.#user).some(([, subject, data]) => {
      const ofArticle =
        subject.kind === "discussions"
          ? subject.scope.articleId
          : findDiscussion(this.client, this.#user, subject.discussionId)?.article_id;
      return ofArticle === article_id && data.pages.some((page) => isMine(author, page.viewer, community_id));
    });
  }

  #syncNotifications(query: Query): void {
    const data = query.state.data as InfiniteData<Notifications, string | null> | undefined;
    const { user, scope } = notificationScopeOf(query.queryKey) ?? {};
    if (!data || !scope || user !== this.#user || typeof user !== "number") return;
    const since = this.#newEvents(data.pages);
    if (since === undefined) return;
    if (!since.events) return this.#refetchNow(query);
    let folded: readonly Notifications[] = data.pages;
    let isMissing = false;
    for (const event of since.events) {
      const next = foldNotifications(folded, scope, event, user);
      if (next.kind === "refetch") isMissing = true;
      else folded = next.value;
    }
    const pages = this.#keptCurrent(folded, since.oldest);
    if (pages !== data.pages) query.setState({ data: { ...data, pages } });
    if (isMissing) this.#refetchNow(query);
    else if (pages.some((page) => page.notifications.some(isIncomplete))) this.#refetchLater(query);
    else this.#isKnown(query);
  }

  #syncSummary(query: Query, isNew = false): void {
    const snapshot = query.state.data as SummarySnapshot | undefined;
    const { user, scope } = summaryScopeOf(query.queryKey) ?? {};
    if (!snapshot || !scope || user !== this.#user) return;
    if (!isFor(this.#user, snapshot.viewer)) return this.#resetLater(query);
    const { head } = this.log;
    if (head === undefined) return;
    if (isNew && this.#isFromBefore(scope.communityId, snapshot)) return this.#refetchNow(query);
    const events = this.log.since(snapshot.last_event_id);
    if (!events) return this.#refetchNow(query);
    const folded = events.reduce((before, event) => foldSummary(before, scope, event), snapshot);
    const kept = head - folded.last_event_id > LAG ? { ...folded, last_event_id: head } : folded;
    if (kept !== snapshot) query.setState({ data: kept });
  }

  /** The events that are not folded into the pages yet; without `events` if the log lacks some of them. */
  #newEvents(pages: readonly { last_event_id: number }[]) {
    const { head, resets } = this.log;
    if (head === undefined) return undefined;
    const oldest = Math.min(...pages.map((page) => page.last_event_id));
    const before = this.#current.get(pages);
    const since = before?.resets === resets ? Math.max(oldest, before.head) : oldest;
    return { oldest, events: this.log.since(since) };
  }

  /** Records that the pages are current. Pages without events get a newer cursor from time to time. */
  #keptCurrent<P extends { last_event_id: number }>(pages: readonly P[], oldest: number): P[] {
    const { head = 0, resets } = this.log;
    const kept =
      head - oldest > LAG
        ? pages.map((page) => ({ ...page, last_event_id: Math.max(page.last_event_id, head) }))
        : (pages as P[]);
    this.#current.set(kept, { head, resets });
    return kept;
  }

  /** Resets the query after the cache's notification, which would otherwise report a state that no longer exists. */
  #resetLater(query: Query): void {
    queueMicrotask(() => void this.client.resetQueries({ queryKey: query.queryKey, exact: true }));
  }

  #refetchNow(query: Query): void {
    void this.client.invalidateQueries({ queryKey: query.queryKey, exact: true }, { cancelRefetch: false });
  }

  /** Fetches a list again of which something is unknown: once for all events of that time, and with jitter. */
  #refetchLater(query: Query, isSpaced = false): void {
    const { fetches, timer } = this.#unknown.get(query) ?? { fetches: 0, timer: undefined };
    if (timer !== undefined || query.state.isInvalidated) return;
    const now = this.timers.now();
    const backoff = Math.min(REFETCH_CAP_MS, REFETCH_MS * 2 ** Math.min(fetches, 10)) * (0.5 + Math.random() / 2);
    const last = this.#fetchedAt.get(query) ?? -Infinity;
    const refetch = () => {
      this.#unknown.set(query, { fetches: fetches + 1, timer: undefined });
      this.#fetchedAt.set(query, this.timers.now());
      void this.client.invalidateQueries({ queryKey: query.queryKey, exact: true }, { cancelRefetch: false });
    };
    const spacingMs = isSpaced ? this.#nextSpacing(query, now - last) : 0;
    // A clock that was set back must not make it wait longer.
    const spacing = Math.min(spacingMs, last + spacingMs - now) * (1 + Math.random() / 4);
    this.#unknown.set(query, { fetches, timer: this.timers.set(refetch, Math.max(backoff, spacing)) });
  }

  #nextSpacing(query: Query, sinceLast: number): number {
    const before = this.#spacings.get(query) ?? UNREAD_SPACING_MS;
    const next = sinceLast > 2 * before ? UNREAD_SPACING_MS : Math.min(REFETCH_CAP_MS, 2 * before);
    this.#spacings.set(query, next);
    return next;
  }

  #isKnown(query: Query): void {
    const unknown = this.#unknown.get(query);
    if (unknown?.timer !== undefined) this.timers.clear(unknown.timer);
    if (unknown) this.#unknown.delete(query);
  }

  #sync(query: Query, isNew = false): void {
    if (unreadScopeOf(query.queryKey)) return this.#syncUnread(query);
    if (followScopeOf(query.queryKey)) return this.#syncFollows(query);
    if (notificationScopeOf(query.queryKey)) return this.#syncNotifications(query);
    if (summaryScopeOf(query.queryKey)) return this.#syncSummary(query, isNew);
    const subject = subjectOf(query.queryKey);
    const data = query.state.data as CachedPages | undefined;
    if (!subject || subject.user !== this.#user || !data) return;
    if (!isOwn(this.#user, data)) return this.#resetLater(query);
    if (!firstData.has(query)) firstData.set(query, data);
    if (isNew && this.#lacksEvents(subject, data)) return this.#refetchNow(query);
    const since = this.#newEvents(data.pages);
    if (since === undefined) return;
    const community = communityOf(this.client, subject);
    const pages = since.events && foldPages(data.pages, subject, since.events, community);
    if (!pages) return this.#refetchNow(query);
    const moved = this.#keptCurrent(pages, since.oldest);
    if (moved !== data.pages) replacePages(query, { ...data, pages: moved });
    if (subject.kind === "comments") return;
    const isOpen = (one: Discussion) => isUnknown(one) || isFollowUnknown(one);
    if ((moved as DiscussionPage[]).some((page) => page.discussions.some(isOpen))) this.#refetchLater(query);
    else this.#isKnown(query);
  }
}

/** Whether TanStack Query ended the fetch itself, because nothing shows the list any more or a newer fetch began. */
function isCancelled(error: Error): boolean {
  return "revert" in error || isAbort(error);
}

/** The pages after the events, or undefined if they must be fetched again. */
function foldPages(
  pages: Page[],
  subject: Subject,
  events: readonly KnownEvent[],
  community: number | undefined,
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

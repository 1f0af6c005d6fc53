import type { QueryClient } from "@tanstack/react-query";
import type { ApiConfig } from "../api/config.js";
import { isApiError } from "../api/error.js";
import { callOptions } from "../api/request.js";
import { Listeners } from "../callbacks.js";
import type { KnownEvent } from "../events.js";
import * as api from "../generated/api.js";
import type { PageSignals, Timers } from "../live/environment.js";
import type { RealtimeStatus } from "../live/status.js";
import { countsAsUnread } from "../viewer.js";
import { normalUser, type User } from "./keys.js";
import {
  both,
  EVERYTHING,
  markedTrees,
  noMarks,
  marksAfter,
  withMark,
  type LastKnown,
  type Mark,
  type ReadMark,
} from "./marks.js";
import { mayHelpLater, retryDelay } from "./retry.js";
import { callMark, parts } from "./send-mark.js";
import type { Store } from "./store.js";
import { read, write, type KeptStorage } from "./storage.js";
import { cached } from "./cached.js";

export interface ReadMarksOptions {
  config: ApiConfig;
  user: User;
  queryClient: QueryClient;
  status: Store<RealtimeStatus>;
  storage: KeptStorage | undefined;
  timers: Timers;
  page: PageSignals;
  onError: (error: Error) => void;
}

/** What of a discussion is to be marked as read. */
export interface Reads {
  /** The discussion's own text. */
  discussion?: boolean;
  ids?: readonly number[];
  /** All comments up to this one. */
  upTo?: number | undefined;
}

/** An article of a community that is being marked as read. */
export interface ArticleMark {
  articleId: number;
  communityId: number;
}

/** What was seen is sent in batches, this long after the first of a batch. */
const BATCH_MS = 1_000;
/** A mark that changes nothing at the server has no event. This long after its answer the event would be here. */
const EVENT_MS = 10_000;

/** The connection has ended. The next page sends what is stored. */
class StoppedError extends Error {}

/**
 * The user's marks of what is read and unread. They show at once, in every hook, and stay until the cache shows them. What is read
 * is sent in batches, one request of a discussion at a time. It is sent again while the server cannot be reached, also after a
 * reload: marks add up, so repeating them is harmless.
 */
export class ReadMarks {
  #marks: ReadonlyMap<number, readonly Mark[]> = new Map();
  #articles: readonly ArticleMark[] = [];
  /** By discussion: what was last known, for when events leave it unknown. */
  readonly lastKnown: LastKnown = new Map();
  readonly #listeners = new Listeners<void>();
  readonly #unreadListeners = new Listeners<{ discussionId: number; ids: readonly number[] }>();
  readonly #running = new Map<number, Promise<void>>();
  /** Discussions whose marks do not wait for their batch. */
  readonly #urgent = new Set<number>();
  /** By discussion: the timer of the next batch. */
  readonly #batches = new Map<number, unknown>();
  /** Functions that end the wait of a mark that could not be sent, and whether the server said how long to wait. */
  readonly #waits = new Map<() => void, boolean>();
  readonly #forgetting = new Set<unknown>();
  readonly #name: string;
  #isStopped = true;
  #isKept = false;
  #lastKey = 0;

  constructor(private readonly options: ReadMarksOptions) {
    this.#name = `scicommons-discussions:read-marks:${normalUser(options.user) ?? ""}`;
  }

  readonly subscribe = (listener: () => void) => this.#listeners.add(listener);
  readonly all = () => this.#marks;
  readonly articles = () => this.#articles;
  readonly of = (discussionId: number) => this.#marks.get(discussionId) ?? noMarks;

  /** Calls `listener` when the user marks comments as unread. */
  onUnread(listener: (unread: { discussionId: number; ids: readonly number[] }) => void): () => void {
    return this.#unreadListeners.add(listener);
  }

  /** Sends what an earlier page could not send. The returned function sends what waits for its batch, and ends all timers. */
  start(): () => void {
    const { page, status } = this.options;
    this.#isStopped = false;
    const unsubscribes = [
      status.subscribe(() => {
        if (status.get().state !== "live") return;
        for (const [end, isLimited] of [...this.#waits]) if (!isLimited) end();
      }),
      // A page may end without another sign after it was hidden.
      page.on("suspend", () => this.#flush()),
      page.on("visibility", () => {
        if (!page.isVisible()) this.#flush();
      }),
    ];
    this.#load();
    for (const id of this.#marks.keys()) {
      this.#sendNow(id);
      this.#forgetLater(id);
    }
    return () => {
      unsubscribes.forEach((unsubscribe) => unsubscribe());
      this.#flush();
      this.#isStopped = true;
      for (const end of [...this.#waits.keys()]) end();
      for (const timer of this.#forgetting) this.options.timers.clear(timer);
      this.#forgetting.clear();
    };
  }

  /** Marks what the user has seen, in the next batch. */
  markSeen(discussionId: number, reads: Reads): void {
    this.#add(discussionId, this.#readMark(discussionId, reads));
    if (!this.#running.has(discussionId)) this.#sendLater(discussionId);
  }

  /** Marks as read at once. The promise settles when the server has it. */
  markRead(discussionId: number, reads: Reads): Promise<void> {
    this.#add(discussionId, this.#readMark(discussionId, reads));
    this.#urgent.add(discussionId);
    return this.#send(discussionId);
  }

  /** Marks the comments from `from` on as unread; without it all of them, and the discussion's own text. */
  markUnread(discussionId: number, from = 0): Promise<void> {
    const { ids, unread } = this.#commentsOf(discussionId, from);
    const gone = ids.filter((id) => !unread.has(id));
    const first = gone.length > 0 ? Math.min(...gone) : null;
    this.#unreadListeners.call({ discussionId, ids: from === 0 ? [0, ...ids] : ids });
    this.#add(discussionId, { ...this.#base(), kind: "unread", from, count: gone.length, first });
    this.#urgent.add(discussionId);
    return this.#send(discussionId);
  }

  /** Marks everything on an article of a community as read. */
  async markArticleRead(articleId: number, communityId: number): Promise<void> {
    const { config, onError } = this.options;
    const mark = { articleId, communityId };
    const ids = this.#discussionsOf(mark);
    const everything = { discussion: true, ids: [], upTo: EVERYTHING, upToCount: EVERYTHING };
    const all: Mark = { ...this.#base(), kind: "read", state: "sending", ...everything };
    this.#articles = [...this.#articles, mark];
    this.#setAll(new Map(ids.map((id) => [id, all])), (before, added) => [...before, added]);
    try {
      await this.#persist(() => api.markArticleRead(articleId, { community_id: communityId }, callOptions(config)));
      ids.forEach((id) => this.#confirm(id, all.key));
    } catch (error) {
      ids.forEach((id) => this.#change(id, (marks) => marks.filter(({ key }) => key !== all.key)));
      if (error instanceof StoppedError) return;
      if (error instanceof Error) onError(error);
      throw error;
    } finally {
      this.#articles = this.#articles.filter((one) => one !== mark);
      this.#listeners.call();
    }
  }

  /** Drops the marks that the events show. Call it when the cache has the events. */
  fold(events: readonly KnownEvent[]): void {
    let marks: Map<number, readonly Mark[]> | undefined;
    for (const event of events) {
      if (event.type !== "read_state_changed" || event.user_id !== normalUser(this.options.user)) continue;
      const before = (marks ?? this.#marks).get(event.discussion_id);
      const after = before && marksAfter(before, event);
      if (after !== before) (marks ??= new Map(this.#marks)).set(event.discussion_id, after ?? noMarks);
    }
    if (marks) this.#set(marks);
  }

  /** Drops what the server has: the cache is fetched again. */
  forgetConfirmed(): void {
    this.#set(new Map([...this.#marks].map(([id, marks]) => [id, marks.filter(({ state }) => state !== "confirmed")])));
  }

  /** The cached comments of a discussion that may be unread from `from` on, and those of all that are unread with the marks. */
  #commentsOf(discussionId: number, from = 0): { ids: number[]; unread: Set<number> } {
    const ids = new Set<number>();
    const unread = new Set<number>();
    const marks = this.of(discussionId);
    for (const [, subject, data] of cached(this.options.queryClient, this.options.user)) {
      if (subject.kind !== "comments" || subject.discussionId !== discussionId) continue;
      for (const { comments, viewer } of data.pages as api.CommentPage[]) {
        const collect = (tree: api.CommentTree) => {
          if (tree.is_unread) unread.add(tree.id);
          if (tree.id >= from && !tree.is_repeated && countsAsUnread(tree, viewer)) ids.add(tree.id);
          tree.replies.forEach(collect);
        };
        markedTrees(comments, marks, viewer).forEach(collect);
      }
    }
    return { ids: [...ids], unread };
  }

  /** The cached comments of a discussion that are unread, with the marks. 0 stands for the discussion's own text. */
  unreadOf(discussionId: number): Set<number> {
    const { unread } = this.#commentsOf(discussionId);
    const isMarked = this.of(discussionId).reduce(
      (isRead, mark) => (mark.kind === "read" ? isRead || mark.discussion : isRead && mark.from > 0),
      false,
    );
    const isUnread = this.#discussions().some((one) => one.id === discussionId && one.is_unread);
    return isUnread && !isMarked ? unread.add(0) : unread;
  }

  #discussions(): api.Discussion[] {
    return cached(this.options.queryClient, this.options.user).flatMap(([, subject, data]) =>
      subject.kind === "comments" ? [] : (data.pages as api.DiscussionPage[]).flatMap((page) => page.discussions),
    );
  }

  /** The cached discussions with something unread. */
  #discussionsOf({ articleId, communityId }: ArticleMark): number[] {
    const all = this.#discussions().filter(
      (one) => one.article_id === articleId && one.community_id === communityId && typeof one.is_unread === "boolean",
    );
    return [...new Set(all.map(({ id }) => id))];
  }

  #readMark(discussionId: number, { discussion = false, ids = [], upTo = 0 }: Reads): ReadMark {
    const below = upTo === 0 ? [] : [...this.#commentsOf(discussionId).unread].filter((id) => id <= upTo);
    const upToCount = below.filter((id) => !ids.includes(id)).length;
    return { ...this.#base(), kind: "read", discussion, ids, upTo, upToCount };
  }

  #base(): Pick<Mark, "key" | "state"> {
    return { key: (this.#lastKey += 1), state: "waiting" };
  }

  #add(discussionId: number, mark: Mark): void {
    this.#setAll(new Map([[discussionId, mark]]), withMark);
  }

  #setAll(marks: ReadonlyMap<number, Mark>, change: (before: readonly Mark[], mark: Mark) => readonly Mark[]): void {
    const next = new Map(this.#marks);
    for (const [id, mark] of marks) next.set(id, change(this.of(id), mark));
    this.#set(next);
  }

  #change(discussionId: number, change: (marks: readonly Mark[]) => readonly Mark[]): void {
    this.#set(new Map(this.#marks).set(discussionId, change(this.of(discussionId))));
  }

  #set(marks: ReadonlyMap<number, readonly Mark[]>): void {
    this.#marks = new Map([...marks].filter(([, ofDiscussion]) => ofDiscussion.length > 0));
    this.#save();
    this.#listeners.call();
  }

  /** Sends the marks of a discussion that wait, one request after the other. */
  #send(discussionId: number, keepalive = false): Promise<void> {
    this.options.timers.clear(this.#batches.get(discussionId));
    this.#batches.delete(discussionId);
    const running = this.#running.get(discussionId);
    if (running) return running;
    const sending = this.#run(discussionId, keepalive).finally(() => {
      this.#running.delete(discussionId);
      this.#urgent.delete(discussionId);
      if (this.of(discussionId).some(isWaiting)) this.#sendLater(discussionId);
    });
    this.#running.set(discussionId, sending);
    return sending;
  }

  #sendLater(id: number): void {
    if (this.#isStopped || this.#batches.has(id)) return;
    this.#batches.set(
      id,
      this.options.timers.set(() => void this.#send(id).catch(() => undefined), BATCH_MS),
    );
  }

  /** Sends what waits at once. */
  #sendNow(id: number): void {
    if (!this.of(id).some(isWaiting)) return;
    this.#urgent.add(id);
    void this.#send(id, true).catch(() => undefined);
  }

  async #run(id: number, keepalive: boolean): Promise<void> {
    const options = () => callOptions(this.options.config, { keepalive: keepalive || !this.options.page.isVisible() });
    do {
      const mark = this.#begin(id);
      if (!mark) return;
      try {
        await this.#persist(() => callMark(id, mark, options()));
      } catch (error) {
        if (error instanceof StoppedError) {
          this.#change(id, (marks) => marks.map((one) => (one.key === mark.key ? { ...one, state: "waiting" } : one)));
          return;
        }
        this.#change(id, (marks) => marks.filter((one) => one.key !== mark.key && !isWaiting(one)));
        if (error instanceof Error) this.options.onError(error);
        throw error;
      }
      this.#confirm(id, mark.key);
    } while (this.#urgent.has(id));
  }

  #confirm(id: number, key: number): void {
    this.#change(id, (marks) =>
      marks.map((one) => (one.key === key && one.state === "sending" ? { ...one, state: "confirmed" } : one)),
    );
    this.#forgetLater(id);
  }

  /** The next mark that waits, which is under way from now on. */
  #begin(id: number): Mark | undefined {
    const marks = this.of(id);
    const at = marks.findIndex(isWaiting);
    const mark = marks[at];
    if (!mark) return undefined;
    const [now, later] = mark.kind === "read" ? parts(mark) : [mark];
    const sending: Mark = { ...now, state: "sending" };
    this.#change(id, () => [...marks.slice(0, at), sending, ...(later ? [later] : []), ...marks.slice(at + 1)]);
    return sending;
  }

  /** Repeats a call while the server cannot be reached, or the user is signed out. Refusals are final. */
  async #persist(call: () => Promise<void>): Promise<void> {
    for (let failures = 0; ; failures += 1) {
      try {
        return await call();
      } catch (error) {
        if (!mayHelpLater(error)) throw error;
        if (!this.#isStopped) await this.#wait(retryDelay(failures, error), isApiError(error, "rate_limited"));
        if (this.#isStopped) throw new StoppedError();
      }
    }
  }

  #wait(ms: number, isLimited: boolean): Promise<void> {
    const { timers } = this.options;
    return new Promise((resolve) => {
      const end = () => {
        timers.clear(timer);
        this.#waits.delete(end);
        resolve();
      };
      const timer = timers.set(end, ms);
      this.#waits.set(end, isLimited);
    });
  }

  /** Drops what the server has had for long enough, so that its event would be here. */
  #forgetLater(id: number): void {
    if (this.#isStopped || !this.of(id).some(({ state }) => state === "confirmed")) return;
    const { status, timers } = this.options;
    const sent = this.of(id).filter(({ state }) => state === "confirmed");
    const forget = () => {
      this.#forgetting.delete(timer);
      if (status.get().state !== "live") return this.#forgetLater(id);
      if (this.of(id).some((one) => sent.includes(one)))
        this.#change(id, (marks) => marks.filter((one) => !sent.includes(one)));
    };
    const timer = timers.set(forget, EVENT_MS);
    this.#forgetting.add(timer);
  }

  /** Sends all that waits for its batch, although the page may be left. */
  #flush(): void {
    for (const id of [...this.#marks.keys()]) this.#sendNow(id);
  }

  #save(): void {
    const kept = [...this.#marks].flatMap(([id, marks]) => {
      const reads = marks.filter((one): one is ReadMark => one.kind === "read" && one.state !== "confirmed");
      const own = reads.filter(({ upTo }) => upTo !== EVERYTHING);
      return own.length > 0 ? [[id, own.reduce(both)] as const] : [];
    });
    // Another tab may have stored its own.
    if (kept.length > 0 || this.#isKept) write(this.options.storage, this.#name, kept.length > 0 ? kept : undefined);
    this.#isKept = kept.length > 0;
  }

  #load(): void {
    const kept = read(this.options.storage, this.#name);
    if (!Array.isArray(kept)) return;
    for (const [id, mark] of kept as [number, Partial<ReadMark>][]) {
      if (typeof id !== "number" || !Array.isArray(mark?.ids) || this.of(id).length > 0) continue;
      const { ids, discussion = false, upTo = 0 } = mark;
      this.#add(id, this.#readMark(id, { ids, discussion, upTo }));
    }
  }
}

const isWaiting = ({ state }: Mark) => state === "waiting";

import type {
  Author,
  Comment,
  CommentPage,
  CommentTree,
  Discussion,
  DiscussionPage,
  ErrorCode,
  Event,
  Follow,
  FollowLevel,
  Follows,
  Kind,
  Notification,
  Notifications,
  Summary,
  SummarySnapshot,
  Unread,
  ViewerInfo,
  VoteValue,
} from "../../src/index.js";

type Change = Event extends infer E ? (E extends Event ? Omit<E, "event_id" | "timestamp"> : never) : never;

export const ARTICLE = 1;
export const COMMUNITY = 7;

/** The user whose votes are the model's own votes. */
export const READER = 1;

/** Before everything that a model has. */
export const JOINED = "2025-01-01T00:00:00Z";

const noVotes = { upvotes: 0, downvotes: 0, own_vote: 0 as const };
const noFollow = { follow_level: "default" as const, has_written: false, is_followed: false };
const nothingUnread = { is_unread: false, unread_count: 0, first_unread_comment_id: null };

/** What a user has marked as read of a discussion. */
interface Marks {
  isRead: boolean;
  comments: Set<number>;
}

/** What is to be marked as read. */
export interface NewReads {
  discussion?: boolean;
  comment_ids?: readonly number[];
  up_to_comment_id?: number | null;
}

/** A model of the server in memory: its discussions and comments after some changes, and the events of these changes. */
export class Model {
  /** The events since the last leap, as they are delivered now: those of a deleted item are redacted. */
  readonly events: Event[] = [];
  /** The same events as they were at first. A server that has yet to hear of a deletion still delivers these. */
  readonly unredacted: Event[] = [];
  /** The head at which the numbering began, or continued after the last leap. */
  base = 0;
  readonly discussions: Discussion[] = [];
  readonly comments: Comment[] = [];
  /** The viewer of the model's pages that are not made for another one. */
  reader: ViewerInfo = {
    user_id: READER,
    memberships: [
      { community_id: COMMUNITY, role: "member", pseudonym: null, joined_at: JOINED, follow_level: "default" },
    ],
  };
  /** An event that would have more ranges of comments that are read has none. */
  mostRanges = 500;
  /** Whether events of notifications say as little as they may. */
  isTerse = false;
  readonly notifications: Notification[] = [];
  /** The article's summary; null if there is none. */
  summary: Summary | null = null;
  #revision = 0;
  /** By id: the last name that somebody wrote under. */
  readonly #people = new Map<number, Author>();
  /** What the reader said about the discussion with this id; 0 for the article. */
  readonly #said = new Map<number, FollowLevel>();
  /** The discussions in which the reader wrote. */
  readonly #wrote = new Set<number>();
  #lastNotification = 0;
  readonly #votes = new Map<Discussion | Comment, Map<number, VoteValue>>();
  /** By user and discussion, as `1:2`. */
  readonly #marks = new Map<string, Marks>();
  #clock = Date.parse("2026-01-01T00:00:00Z");

  get head(): number {
    return this.base + this.events.length;
  }

  since(cursor: number): Event[] {
    return this.events.slice(Math.max(0, cursor - this.base));
  }

  /** Begins another history: the numbering continues from the next multiple of 2^32, and the earlier events are gone. */
  leap(): void {
    this.base = (Math.floor(this.head / 2 ** 32) + 1) * 2 ** 32;
    this.events.length = 0;
    this.unredacted.length = 0;
  }

  /** Changes who may read the community. */
  changeKind(kind: Kind, previous_kind: Kind): void {
    this.#emit({ type: "community_changed", community_id: COMMUNITY, kind, previous_kind }, this.#tick());
  }

  /** Changes the name or picture of this author everywhere. Pseudonyms stay as they are. */
  changeAuthor(author: Author): void {
    if (author.id !== null) this.#people.set(author.id, author);
    const renamed = (one: Author) => (one.id !== null && one.id === author.id ? author : one);
    for (const item of [...this.discussions, ...this.comments]) item.mentions = item.mentions.map(renamed);
    for (const one of this.notifications) one.actor &&= renamed(one.actor);
    if (this.summary) this.summary = { ...this.summary, author: this.summary.author && renamed(this.summary.author) };
    for (const item of [...this.discussions, ...this.comments]) {
      if (item.author && item.author.id !== null && item.author.id === author.id) item.author = author;
      if ("resolved_by" in item && item.resolved_by && item.resolved_by.id === author.id) item.resolved_by = author;
    }
    this.#emit({ type: "author_changed", community_id: COMMUNITY, author }, this.#tick());
  }

  createDiscussion(topic: string, text: string, author: Author): Discussion {
    const time = this.#tick();
    const id = this.discussions.length + 1;
    const times = { created_at: time, updated_at: time, edited_at: null, deleted_at: null };
    const discussion: Discussion = {
      id,
      community_id: COMMUNITY,
      article_id: ARTICLE,
      topic,
      text,
      author,
      is_resolved: false,
      resolved_at: null,
      resolved_by: null,
      comment_count: 0,
      comment_version: 0,
      ...noVotes,
      ...nothingUnread,
      ...noFollow,
      mentions: this.#mentionsIn(text),
      ...times,
    };
    this.discussions.push(discussion);
    this.#note(author, id);
    this.#emit({ type: "new_discussion", ...this.#state(discussion) }, time);
    if (this.#mentionsReader(discussion)) this.#notify("mention", discussion, null, author);
    return discussion;
  }

  updateDiscussion(
    id: number,
    patch: { topic?: string; text?: string; is_resolved?: boolean },
    by: Author | null = null,
  ): Discussion | undefined {
    const discussion = this.discussions.find((one) => one.id === id);
    if (!discussion || discussion.deleted_at) return undefined;
    const { topic = discussion.topic, text = discussion.text, is_resolved = discussion.is_resolved } = patch;
    const isEdited = topic !== discussion.topic || text !== discussion.text;
    const isSettled = is_resolved !== discussion.is_resolved;
    if (!isEdited && !isSettled) return discussion;
    const time = this.#tick();
    const wasMentioned = this.#mentionsReader(discussion);
    const mentions = this.#mentionsIn(text ?? "");
    Object.assign(discussion, { topic, text, mentions, is_resolved, updated_at: time });
    if (isEdited) discussion.edited_at = time;
    if (isSettled)
      Object.assign(discussion, { resolved_at: is_resolved ? time : null, resolved_by: is_resolved ? by : null });
    for (const one of this.notifications.filter((other) => other.discussion_id === id)) {
      one.topic = topic;
      if (one.comment_id === null) one.excerpt = excerptOf(text);
    }
    this.#emit({ type: "updated_discussion", ...this.#state(discussion) }, time);
    this.#renotify(wasMentioned, discussion, null, discussion.author);
    return discussion;
  }

  deleteDiscussion(id: number): boolean {
    const discussion = this.discussions.find((one) => one.id === id);
    if (!discussion || discussion.deleted_at) return false;
    const time = this.#tick();
    const nothing = { topic: null, text: null, author: null, resolved_by: null, mentions: [] };
    Object.assign(discussion, { ...nothing, deleted_at: time });
    this.#redact(nothing, time, (event) => isOfDiscussion(event, id));
    for (const one of this.notifications) if (one.discussion_id === id) one.topic = null;
    this.#emit({ type: "deleted_discussion", ...this.#place(discussion) }, time);
    this.#withdraw((one) => one.discussion_id === id && one.comment_id === null);
    return true;
  }

  createComment(discussionId: number, parentId: number | null, text: string, author: Author): Comment | undefined {
    const discussion = this.discussions.find((one) => one.id === discussionId);
    const parent = parentId === null ? undefined : this.comments.find((one) => one.id === parentId);
    if (!discussion || discussion.deleted_at) return undefined;
    if (
      parentId !== null &&
      (!parent || parent.discussion_id !== discussionId || parent.depth > 2 || parent.deleted_at)
    )
      return undefined;
    const time = this.#tick();
    const depth = (parent?.depth ?? 0) + 1;
    const id = this.comments.length + 1;
    const times = { created_at: time, updated_at: time, edited_at: null, deleted_at: null };
    const place = { id, discussion_id: discussionId, parent_id: parentId, depth };
    const mentions = this.#mentionsIn(text);
    const comment: Comment = { ...place, text, author, mentions, ...noVotes, is_unread: false, ...times };
    this.comments.push(comment);
    this.#note(author, discussionId);
    discussion.comment_count += 1;
    discussion.comment_version += 1;
    const { comment_count, comment_version } = discussion;
    this.#emit(
      {
        type: "new_comment",
        ...this.#place(discussion),
        comment_id: id,
        parent_id: parentId,
        depth,
        text,
        author,
        mentions,
        upvotes: 0,
        downvotes: 0,
        edited_at: null,
        comment_count,
        comment_version,
      },
      time,
    );
    if (this.#mentionsReader(comment)) this.#notify("mention", discussion, comment, author);
    else if (parent?.author?.id === READER) this.#notify("reply", discussion, comment, author);
    else if (discussion.author?.id === READER) this.#notify("comment", discussion, comment, author);
    return comment;
  }

  updateComment(id: number, text: string): Comment | undefined {
    const comment = this.comments.find((one) => one.id === id);
    const discussion = this.discussions.find((one) => one.id === comment?.discussion_id);
    if (!comment || !discussion || comment.deleted_at || !comment.author) return undefined;
    if (comment.text === text) return comment;
    const time = this.#tick();
    const wasMentioned = this.#mentionsReader(comment);
    const mentions = this.#mentionsIn(text);
    Object.assign(comment, { text, mentions, updated_at: time, edited_at: time });
    for (const one of this.notifications) if (one.comment_id === id) one.excerpt = excerptOf(text);
    const { parent_id, author, upvotes, downvotes } = comment;
    const state = { comment_id: id, parent_id, text, author, mentions, upvotes, downvotes, edited_at: time };
    this.#emit({ type: "updated_comment", ...this.#place(discussion), ...state }, time);
    this.#renotify(wasMentioned, discussion, comment, author);
    return comment;
  }

  deleteComment(id: number): boolean {
    const comment = this.comments.find((one) => one.id === id);
    const discussion = this.discussions.find((one) => one.id === comment?.discussion_id);
    if (!comment || !discussion || comment.deleted_at) return false;
    const time = this.#tick();
    const nothing = { text: null, author: null, mentions: [] };
    Object.assign(comment, { ...nothing, deleted_at: time });
    discussion.comment_count -= 1;
    discussion.comment_version += 1;
    const { comment_count, comment_version } = discussion;
    this.#redact(nothing, time, (event) => isOfComment(event, id));
    this.#emit(
      {
        type: "deleted_comment",
        ...this.#place(discussion),
        comment_id: id,
        parent_id: comment.parent_id,
        comment_count,
        comment_version,
      },
      time,
    );
    this.#withdraw((one) => one.comment_id === id);
    return true;
  }

  /** Writes the article's summary. Under a pseudonym it is of nobody. */
  writeSummary(text: string, author: Author): Summary {
    if (this.summary?.text === text) return this.summary;
    const time = this.#tick();
    const place = { community_id: COMMUNITY, article_id: ARTICLE };
    const times = { created_at: this.summary?.created_at ?? time, updated_at: time };
    const shown = author.id === null ? null : author;
    this.summary = { ...place, text, author: shown, revision: (this.#revision += 1), ...times };
    this.#emit({ type: "updated_summary", ...this.summary }, time);
    return this.summary;
  }

  deleteSummary(): void {
    const { summary } = this;
    if (!summary) return;
    const time = this.#tick();
    this.summary = null;
    const nothing = { text: null, author: null };
    this.#redact(nothing, time, (event) => event.type === "updated_summary" && event.text !== null);
    const revision = (this.#revision += 1);
    this.#emit({ type: "updated_summary", ...summary, ...nothing, revision, updated_at: time }, time);
  }

  summarySnapshot(viewer: ViewerInfo | null = this.reader): SummarySnapshot {
    return { summary: this.summary, viewer: this.#toldOf(viewer), last_event_id: this.head };
  }

  /** What the reader says about a discussion; without an id, about the article. Returns what holds then. */
  follow(id: number | null, level: FollowLevel): Follow | undefined {
    if (id !== null && !this.discussions.some((one) => one.id === id)) return undefined;
    const before = this.#said.get(id ?? 0) ?? "default";
    const previous_level = this.followOf(id).level;
    if (level === "default") this.#said.delete(id ?? 0);
    else this.#said.set(id ?? 0, level);
    const follow = this.followOf(id);
    if (before !== level)
      this.#emit({ type: "follow_changed", user_id: READER, ...follow, previous_level }, this.#tick());
    return follow;
  }

  /** What holds for the reader of a discussion, or of the article. */
  followOf(id: number | null): Follow {
    const place = { community_id: COMMUNITY, article_id: ARTICLE, discussion_id: id };
    const said = this.#said.get(id ?? 0);
    const isAdmin = this.reader.memberships.some(({ role }) => role === "admin");
    const counts = said ?? this.#said.get(0);
    // For a discussion, to administer the community is none of its own reasons.
    const isImplied = id === null ? isAdmin : this.#wrote.has(id) && counts !== "mute";
    const is_followed = counts ? counts === "follow" : isAdmin || isImplied;
    return { ...place, level: said ?? (isImplied ? "follow" : "default"), is_default: said === undefined, is_followed };
  }

  /** All that the reader follows or has muted. */
  follows(): Follows {
    const all = [null, ...this.discussions.map(({ id }) => id)].map((id) => this.followOf(id));
    const follows = all.filter(({ level }) => level !== "default");
    return { follows, last_event_id: this.head, next_cursor: null };
  }

  /** A page of the reader's notifications. */
  notificationPage(cursor: string | null, limit: number, isUnreadOnly = false): Notifications {
    const all = this.notifications
      .toReversed()
      .filter((one) => (cursor === null || one.id < Number(cursor)) && !(isUnreadOnly && one.is_read));
    const notifications = structuredClone(all.slice(0, limit));
    const next_cursor = all.length > limit ? String(notifications.at(-1)?.id) : null;
    return { notifications, unread_count: this.#unreadCount, last_event_id: this.head, next_cursor };
  }

  /** Marks the reader's notifications as read. */
  readNotifications(marks: { ids?: readonly number[]; up_to_id?: number | null }): void {
    const read = this.notifications.filter(
      (one) => !one.is_read && ((marks.ids?.includes(one.id) ?? false) || one.id <= (marks.up_to_id ?? 0)),
    );
    if (read.length === 0) return;
    for (const one of read) one.is_read = true;
    const terse = { community_id: COMMUNITY, ids: read.map(({ id }) => id) };
    const full = {
      community_id: 0,
      ids: marks.ids ? [...marks.ids] : null,
      up_to_id: marks.up_to_id ?? null,
      unread_count: this.#unreadCount,
    };
    this.#emit(
      { type: "notifications_read", user_id: READER, ...(this.isTerse ? terse : full) } as Change,
      this.#tick(),
    );
  }

  get #unreadCount(): number {
    return this.notifications.filter(({ is_read }) => !is_read).length;
  }

  #note(author: Author, discussion: number): void {
    if (author.id !== null) this.#people.set(author.id, author);
    const pseudonyms = this.reader.memberships.map(({ pseudonym }) => pseudonym);
    if (author.id === null ? pseudonyms.includes(author.username) : author.id === READER) this.#wrote.add(discussion);
  }

  /** Whom `@u1` and so on mention: those who have written something. */
  #mentionsIn(text: string): Author[] {
    const ids = new Set([...text.matchAll(/@u(\d)/g)].map(([, id]) => Number(id)));
    return [...ids].sort().flatMap((id) => this.#people.get(id) ?? []);
  }

  #mentionsReader({ mentions, author }: Discussion | Comment): boolean {
    return author?.id !== READER && mentions.some(({ id }) => id === READER);
  }

  #notify(kind: "mention" | "reply" | "comment", discussion: Discussion, comment: Comment | null, actor: Author): void {
    if (actor.id === READER || this.#isMuted(discussion.id)) return;
    const item = comment ?? discussion;
    const { community_id, article_id, id: discussion_id, topic } = discussion;
    const place = { community_id, article_id, discussion_id, comment_id: comment?.id ?? null };
    const created_at = this.#tick();
    const id = (this.#lastNotification += 1);
    const words = { topic, excerpt: excerptOf(item.text), actor, reason: null };
    const made: Notification = { id, kind, ...place, ...words, is_read: false, created_at };
    this.notifications.push(made);
    const { id: notification_id, ...rest } = made;
    const full = { ...rest, unread_count: this.#unreadCount };
    const said = this.isTerse ? { kind, ...place } : full;
    this.#emit({ type: "new_notification", user_id: READER, notification_id, ...said } as Change, created_at);
  }

  /** After an edit only new mentions notify, and those that are gone are withdrawn. */
  #renotify(wasMentioned: boolean, discussion: Discussion, comment: Comment | null, actor: Author | null): void {
    const isMentioned = this.#mentionsReader(comment ?? discussion);
    const isOf = (one: Notification) => one.discussion_id === discussion.id && one.comment_id === (comment?.id ?? null);
    if (isMentioned && !wasMentioned && actor && !this.notifications.some(isOf))
      this.#notify("mention", discussion, comment, actor);
    if (wasMentioned && !isMentioned) this.#withdraw((one) => isOf(one) && one.kind === "mention");
  }

  #isMuted(discussion: number): boolean {
    return (this.#said.get(discussion) ?? this.#said.get(0)) === "mute";
  }

  #withdraw(isGone: (one: Notification) => boolean): void {
    const ids = this.notifications.filter(isGone).map(({ id }) => id);
    if (ids.length === 0) return;
    const rest = this.notifications.filter((one) => !isGone(one));
    this.notifications.splice(0, this.notifications.length, ...rest);
    for (const [at, event] of this.events.entries())
      if (event.type === "new_notification" && ids.includes(event.notification_id) && !this.isTerse)
        this.events[at] = { ...event, topic: null, excerpt: null, actor: null } as Event;
    const said = this.isTerse ? {} : { unread_count: this.#unreadCount };
    const event = { type: "notifications_withdrawn", user_id: READER, community_id: COMMUNITY, ids, ...said };
    this.#emit(event as Change, this.#tick());
  }

  /** A vote of a user on a discussion, or on a comment. The reader of the model is user 1. Returns when it was counted. */
  vote(kind: "discussions" | "comments", id: number, user_id: number, value: VoteValue): string | undefined {
    const item = this[kind].find((one) => one.id === id);
    if (!item || item.deleted_at) return undefined;
    const time = this.#tick();
    const votes = this.#votes.get(item) ?? new Map<number, VoteValue>();
    this.#votes.set(item, votes);
    if ((votes.get(user_id) ?? 0) === value) return time;
    votes.set(user_id, value);
    const count = (which: VoteValue) => [...votes.values()].filter((one) => one === which).length;
    Object.assign(item, { upvotes: count(1), downvotes: count(-1), ...(user_id === READER && { own_vote: value }) });
    const discussion = "topic" in item ? item : this.discussions.find((one) => one.id === item.discussion_id);
    if (!discussion) return undefined;
    const place = { ...this.#place(discussion), comment_id: "topic" in item ? null : id };
    // Others' own votes have their numbers, but the reader never gets them.
    if (user_id === READER) this.#emit({ type: "own_vote_changed", ...place, user_id, value }, time);
    const { upvotes, downvotes } = item;
    this.#emit({ type: "votes_changed", ...place, upvotes, downvotes }, time);
    return time;
  }

  /** The reader joins now: what is older counts as read. */
  join(): void {
    const joined_at = this.#tick();
    this.reader = {
      ...this.reader,
      memberships: this.reader.memberships.map((membership) => ({ ...membership, joined_at })),
    };
  }

  /** Marks as read what is unread for the viewer. Returns whether that has changed anything. */
  markRead(id: number, marks: NewReads, viewer = this.reader): boolean {
    const discussion = this.discussions.find((one) => one.id === id);
    if (!discussion) return false;
    const { isRead, comments } = this.#marksOf(viewer, id);
    const upTo = marks.up_to_comment_id ?? 0;
    const added = this.comments.filter(
      (one) =>
        one.discussion_id === id &&
        (one.id <= upTo || marks.comment_ids?.includes(one.id)) &&
        this.#isUnread(one, viewer),
    );
    added.forEach((one) => comments.add(one.id));
    const isNews = marks.discussion === true && !isRead;
    if (isNews) this.#marksOf(viewer, id).isRead = true;
    if (added.length === 0 && !isNews) return false;
    this.#tellMarks(discussion, viewer);
    return true;
  }

  /** Takes marks back: of all comments from `from` on, or of everything. */
  markUnread(id: number, from: number | null = null, viewer = this.reader): boolean {
    const discussion = this.discussions.find((one) => one.id === id);
    if (!discussion) return false;
    const marks = this.#marksOf(viewer, id);
    const gone = [...marks.comments].filter((one) => one >= (from ?? 0));
    gone.forEach((one) => marks.comments.delete(one));
    const isNews = from === null && marks.isRead;
    if (isNews) marks.isRead = false;
    if (gone.length === 0 && !isNews) return false;
    this.#tellMarks(discussion, viewer);
    return true;
  }

  markArticleRead(viewer = this.reader): void {
    for (const one of this.discussions) {
      if (one.deleted_at !== null) continue;
      const { is_unread, unread_count } = this.shown(one, viewer);
      if (is_unread || (unread_count ?? 0) > 0)
        this.markRead(one.id, { discussion: true, up_to_comment_id: this.comments.length }, viewer);
    }
  }

  /** A discussion as this viewer sees it, who may be no member. */
  shown(discussion: Discussion, viewer: ViewerInfo | null): Discussion {
    const copy = structuredClone(discussion);
    if (!viewer?.memberships.some((one) => one.community_id === discussion.community_id))
      return {
        ...copy,
        is_unread: null,
        unread_count: null,
        first_unread_comment_id: null,
        follow_level: null,
        has_written: null,
        is_followed: null,
      };
    const follow = this.followOf(discussion.id);
    const unread = this.comments.filter((one) => one.discussion_id === discussion.id && this.#isUnread(one, viewer));
    return {
      ...copy,
      is_unread: isUnreadAtFirst(discussion, viewer) && !this.#marksOf(viewer, discussion.id).isRead,
      unread_count: unread.length,
      first_unread_comment_id: unread[0]?.id ?? null,
      follow_level: follow.is_default ? "default" : follow.level,
      has_written: this.#wrote.has(discussion.id),
      is_followed: follow.is_followed,
    };
  }

  /** A viewer with what they said about the article. */
  #toldOf(viewer: ViewerInfo | null): ViewerInfo | null {
    if (viewer?.user_id !== READER) return viewer;
    const { level: follow_level } = this.followOf(null);
    return { ...viewer, memberships: viewer.memberships.map((one) => ({ ...one, follow_level })) };
  }

  /** What is unread for the viewer: the sums, and the newest discussions. */
  unread(viewer: ViewerInfo, limit: number, isFollowedOnly = false): Unread {
    const all = this.discussions
      .toReversed()
      .filter(({ deleted_at }) => deleted_at === null)
      .map((one) => this.shown(one, viewer))
      .filter(({ is_unread, unread_count }) => is_unread || (unread_count ?? 0) > 0)
      .filter(({ is_followed }) => is_followed || !isFollowedOnly);
    const sums = {
      community_id: COMMUNITY,
      discussions: all.length,
      comments: all.reduce((sum, one) => sum + (one.unread_count ?? 0), 0),
    };
    const discussions = all.slice(0, limit).map((one) => ({
      id: one.id,
      community_id: one.community_id,
      article_id: one.article_id,
      topic: one.topic ?? "",
      is_unread: one.is_unread ?? false,
      unread_count: one.unread_count ?? 0,
      first_unread_comment_id: one.first_unread_comment_id,
      comment_version: one.comment_version,
    }));
    return {
      communities: all.length > 0 ? [sums] : [],
      articles: all.length > 0 ? [{ ...sums, article_id: ARTICLE }] : [],
      discussions,
      last_event_id: this.head,
      next_cursor: all.length > limit ? String(discussions.at(-1)?.id) : null,
    };
  }

  #isUnread(comment: Comment, viewer: ViewerInfo): boolean {
    return isUnreadAtFirst(comment, viewer) && !this.#marksOf(viewer, comment.discussion_id).comments.has(comment.id);
  }

  #marksOf({ user_id }: ViewerInfo, discussion: number): Marks {
    const name = `${user_id}:${discussion}`;
    const marks = this.#marks.get(name) ?? { isRead: false, comments: new Set() };
    this.#marks.set(name, marks);
    return marks;
  }

  /** Others' marks have their numbers too, but the reader never gets them. */
  #tellMarks(discussion: Discussion, viewer: ViewerInfo): void {
    if (viewer.user_id !== READER) return;
    const { is_unread, unread_count, first_unread_comment_id, comment_version } = this.shown(discussion, viewer);
    const read = [...this.#marksOf(viewer, discussion.id).comments].sort((a, b) => a - b);
    const ranges: [number, number][] = [];
    for (const id of read) {
      const last = ranges.at(-1);
      const between = this.comments.slice(last?.[1] ?? 0, id - 1);
      const isUnread = (one: Comment) => one.discussion_id === discussion.id && this.#isUnread(one, viewer);
      // As on the server, a range may cover whatever is not unread.
      if (last && this.head % 2 === 0 && !between.some(isUnread)) last[1] = id;
      else ranges.push([id, id]);
    }
    const event = {
      ...this.#place(discussion),
      user_id: viewer.user_id,
      is_unread: is_unread ?? false,
      unread_count: unread_count ?? 0,
      first_unread_comment_id,
      comment_version,
      read_comments: ranges.length > this.mostRanges ? null : ranges,
    };
    this.#emit({ type: "read_state_changed", ...event }, this.#tick());
  }

  membership(user_id: number, role: "member" | null): void {
    this.#emit(
      { type: "membership_changed", community_id: COMMUNITY, user_id, role, previous_role: role ? null : "member" },
      this.#tick(),
    );
  }

  discussionPage(cursor: string | null, limit: number, viewer: ViewerInfo | null = this.reader): DiscussionPage {
    const newest = this.discussions.toReversed().filter((one) => cursor === null || one.id < Number(cursor));
    const discussions = newest.slice(0, limit).map((one) => this.shown(one, viewer));
    const next_cursor = newest.length > limit ? String(discussions.at(-1)?.id) : null;
    return { discussions, last_event_id: this.head, next_cursor, viewer: this.#toldOf(viewer) };
  }

  commentPage(
    discussionId: number,
    cursor: string | null,
    limit: number,
    viewer: ViewerInfo | null = this.reader,
    around?: number,
  ): CommentPage {
    const all = this.comments.filter((one) => one.discussion_id === discussionId);
    const byId = new Map(all.map((one) => [one.id, one]));
    const rootOf = (one: Comment): number => {
      const parent = one.parent_id === null ? undefined : byId.get(one.parent_id);
      return parent ? rootOf(parent) : one.id;
    };
    // As on the server: roots in order, each followed by its replies, and at most five times as many comments as roots.
    const ordered = all
      .map((one) => ({ one, root: rootOf(one) }))
      .sort((a, b) => a.root - b.root || a.one.id - b.one.id);
    // Where the page's two parts meet: one goes back from there, and one on.
    const isBefore = cursor?.startsWith("before-") ?? false;
    const [root = 0, comment = Infinity] = (cursor ?? "0").replace("before-", "").split("-").map(Number);
    const covers = (item: { one: Comment; root: number }) =>
      item.root < root || (item.root === root && (isBefore ? item.one.id < comment : item.one.id <= comment));
    const at =
      around === undefined ? ordered.filter(covers).length : ordered.findIndex(({ one }) => one.id === around) + 1;
    const after = around === undefined ? (isBefore ? 0 : limit) : Math.floor(limit / 2);
    const before = around === undefined ? (isBefore ? limit : 0) : limit - after;
    const rest = ordered.slice(at);
    const nextRoot = rest.filter((item) => item.one.depth === 1)[after]?.one.id ?? Infinity;
    const later = rest.filter((item) => item.root < nextRoot).slice(0, 5 * after);
    const previousRoot =
      ordered
        .slice(0, at)
        .filter((item) => item.one.depth === 1)
        .at(-1 - before)?.one.id ?? 0;
    const earlier = ordered.slice(0, at).filter((item) => item.root > previousRoot);
    const start = before === 0 ? at : at - Math.min(earlier.length, 5 * before);
    const items = ordered.slice(start, at + later.length);
    const next = ordered[at + later.length];
    const last = items.at(-1);
    const continues = last !== undefined && next?.root === last.root;
    const next_cursor = last && next ? (continues ? `${last.root}-${last.one.id}` : String(last.root)) : null;
    const first = items[0];
    const previous_cursor = first && start > 0 ? `before-${first.root}-${first.one.id}` : null;
    const shown = new Set(items.map(({ one }) => one.id));
    const below = new Map<number | null, Comment[]>();
    for (const one of all) {
      const replies = below.get(one.parent_id);
      if (replies) replies.push(one);
      else below.set(one.parent_id, [one]);
    }
    const isMember = viewer?.memberships.some((one) => one.community_id === COMMUNITY);
    const isUnread = (one: Comment) => (viewer && isMember ? this.#isUnread(one, viewer) : null);
    const grow = (parent: number | null): CommentTree[] =>
      (below.get(parent) ?? [])
        .map((one) => ({ ...structuredClone(one), is_unread: isUnread(one), replies: grow(one.id) }))
        .filter((tree) => shown.has(tree.id) || tree.replies.length > 0)
        .map((tree) => (shown.has(tree.id) ? tree : { ...tree, text: null, mentions: [], is_repeated: true }));
    return {
      comments: grow(null),
      last_event_id: this.head,
      previous_cursor,
      next_cursor,
      continues,
      viewer: this.#toldOf(viewer),
    };
  }

  #place(discussion: Discussion) {
    return { community_id: COMMUNITY, article_id: ARTICLE, discussion_id: discussion.id };
  }

  #state(discussion: Discussion) {
    const { topic, text, author, is_resolved, comment_count, upvotes, downvotes } = discussion;
    const { edited_at, resolved_at, resolved_by, mentions } = discussion;
    if (topic === null || text === null || !author) throw new Error("a tombstone has no state");
    const state = { topic, text, author, is_resolved, comment_count, upvotes, downvotes };
    return { ...this.#place(discussion), ...state, mentions, edited_at, resolved_at, resolved_by };
  }

  /** The events that are kept of a deleted item show a tombstone. */
  #redact(nothing: Partial<Event>, deleted_at: string, concerns: (event: Event) => boolean): void {
    for (const [at, event] of this.events.entries())
      if (concerns(event)) this.events[at] = { ...event, ...nothing, deleted_at } as Event;
  }

  #tick(): string {
    return new Date((this.#clock += 1000)).toISOString();
  }

  #emit(change: Change, timestamp: string): void {
    const event = { ...change, event_id: this.head + 1, timestamp } as Event;
    this.events.push(event);
    this.unredacted.push(event);
  }
}

/** Whether it is unread for a member as long as they have not marked it as read. All times of a model have the same form. */
function isUnreadAtFirst(item: Discussion | Comment, { user_id, memberships }: ViewerInfo): boolean {
  const membership = memberships.find((one) => one.community_id === COMMUNITY);
  if (!membership || !item.author || item.deleted_at !== null) return false;
  const { id, username } = item.author;
  const isOwn = id === null ? username === membership.pseudonym : id === user_id;
  return !isOwn && Date.parse(item.created_at) > Date.parse(membership.joined_at);
}

const excerptOf = (text: string | null) => [...(text ?? "")].slice(0, 200).join("");

const isOfDiscussion = (event: Event, id: number) =>
  (event.type === "new_discussion" || event.type === "updated_discussion") && event.discussion_id === id;
const isOfComment = (event: Event, id: number) =>
  (event.type === "new_comment" || event.type === "updated_comment") && event.comment_id === id;

export const coded = (status: number, code: ErrorCode, headers: Record<string, string> = {}) =>
  Response.json({ code, message: code }, { status, headers });

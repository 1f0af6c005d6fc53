import type {
  Author,
  Comment,
  CommentPage,
  CommentTree,
  Discussion,
  DiscussionPage,
  ErrorCode,
  Event,
  ViewerInfo,
} from "../../src/index.js";

type Change = Event extends infer E ? (E extends Event ? Omit<E, "event_id" | "timestamp"> : never) : never;

export const ARTICLE = 1;
export const COMMUNITY = 7;

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

  /** Changes the name or picture of this author everywhere. Pseudonyms stay as they are. */
  changeAuthor(author: Author): void {
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
      ...times,
    };
    this.discussions.push(discussion);
    this.#emit({ type: "new_discussion", ...this.#state(discussion) }, time);
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
    Object.assign(discussion, { topic, text, is_resolved, updated_at: time });
    if (isEdited) discussion.edited_at = time;
    if (isSettled)
      Object.assign(discussion, { resolved_at: is_resolved ? time : null, resolved_by: is_resolved ? by : null });
    this.#emit({ type: "updated_discussion", ...this.#state(discussion) }, time);
    return discussion;
  }

  deleteDiscussion(id: number): boolean {
    const discussion = this.discussions.find((one) => one.id === id);
    if (!discussion || discussion.deleted_at) return false;
    const time = this.#tick();
    Object.assign(discussion, { topic: null, text: null, author: null, resolved_by: null, deleted_at: time });
    const nothing = { topic: null, text: null, author: null, resolved_by: null };
    this.#redact(nothing, time, (event) => isOfDiscussion(event, id));
    this.#emit({ type: "deleted_discussion", ...this.#place(discussion) }, time);
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
    const comment: Comment = { id, discussion_id: discussionId, parent_id: parentId, depth, text, author, ...times };
    this.comments.push(comment);
    discussion.comment_count += 1;
    const { comment_count } = discussion;
    this.#emit(
      {
        type: "new_comment",
        ...this.#place(discussion),
        comment_id: id,
        parent_id: parentId,
        depth,
        text,
        author,
        edited_at: null,
        comment_count,
      },
      time,
    );
    return comment;
  }

  updateComment(id: number, text: string): Comment | undefined {
    const comment = this.comments.find((one) => one.id === id);
    const discussion = this.discussions.find((one) => one.id === comment?.discussion_id);
    if (!comment || !discussion || comment.deleted_at || !comment.author) return undefined;
    if (comment.text === text) return comment;
    const time = this.#tick();
    Object.assign(comment, { text, updated_at: time, edited_at: time });
    const { parent_id, author } = comment;
    const state = { comment_id: id, parent_id, text, author, edited_at: time };
    this.#emit({ type: "updated_comment", ...this.#place(discussion), ...state }, time);
    return comment;
  }

  deleteComment(id: number): boolean {
    const comment = this.comments.find((one) => one.id === id);
    const discussion = this.discussions.find((one) => one.id === comment?.discussion_id);
    if (!comment || !discussion || comment.deleted_at) return false;
    const time = this.#tick();
    Object.assign(comment, { text: null, author: null, deleted_at: time });
    discussion.comment_count -= 1;
    const { comment_count } = discussion;
    this.#redact({ text: null, author: null }, time, (event) => isOfComment(event, id));
    this.#emit(
      {
        type: "deleted_comment",
        ...this.#place(discussion),
        comment_id: id,
        parent_id: comment.parent_id,
        comment_count,
      },
      time,
    );
    return true;
  }

  membership(user_id: number, role: "member" | null): void {
    this.#emit(
      { type: "membership_changed", community_id: COMMUNITY, user_id, role, previous_role: role ? null : "member" },
      this.#tick(),
    );
  }

  discussionPage(cursor: string | null, limit: number, viewer: ViewerInfo | null = null): DiscussionPage {
    const newest = this.discussions.toReversed().filter((one) => cursor === null || one.id < Number(cursor));
    const discussions = structuredClone(newest.slice(0, limit));
    const next_cursor = newest.length > limit ? String(discussions.at(-1)?.id) : null;
    return { discussions, last_event_id: this.head, next_cursor, viewer };
  }

  commentPage(
    discussionId: number,
    cursor: string | null,
    limit: number,
    viewer: ViewerInfo | null = null,
  ): CommentPage {
    const all = this.comments.filter((one) => one.discussion_id === discussionId);
    const grow = (parent: number | null): CommentTree[] =>
      all.filter((one) => one.parent_id === parent).map((one) => ({ ...structuredClone(one), replies: grow(one.id) }));
    const roots = grow(null).filter((one) => cursor === null || one.id > Number(cursor));
    const comments = roots.slice(0, limit);
    const next_cursor = roots.length > limit ? String(comments.at(-1)?.id) : null;
    return { comments, last_event_id: this.head, next_cursor, viewer };
  }

  #place(discussion: Discussion) {
    return { community_id: COMMUNITY, article_id: ARTICLE, discussion_id: discussion.id };
  }

  #state(discussion: Discussion) {
    const { topic, text, author, is_resolved, comment_count, edited_at, resolved_at, resolved_by } = discussion;
    if (topic === null || text === null || !author) throw new Error("a tombstone has no state");
    const state = { topic, text, author, is_resolved, comment_count, edited_at, resolved_at, resolved_by };
    return { ...this.#place(discussion), ...state };
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

const isOfDiscussion = (event: Event, id: number) =>
  (event.type === "new_discussion" || event.type === "updated_discussion") && event.discussion_id === id;
const isOfComment = (event: Event, id: number) =>
  (event.type === "new_comment" || event.type === "updated_comment") && event.comment_id === id;

export const coded = (status: number, code: ErrorCode, headers: Record<string, string> = {}) =>
  Response.json({ code, message: code }, { status, headers });

import { Listeners } from "../callbacks.js";
import { newKey } from "./new-key.js";
import type { Version } from "./pending.js";
import { read, write, type KeptStorage } from "./storage.js";
import { normalUser, type User } from "./keys.js";

/** What a user has written and not sent yet. */
export interface Draft {
  text: string;
  topic: string;
  /** The Idempotency-Key of every attempt to send it, so a second click does not create a second item. */
  key: string;
  /** What the user began to edit; undefined for something new. */
  from?: Version | undefined;
}

/** Names for the places where a user writes. */
export const places = {
  newDiscussion: (articleId: number) => `new-discussion:${articleId}`,
  comment: (discussionId: number) => `comment:${discussionId}`,
  reply: (commentId: number) => `reply:${commentId}`,
  editComment: (commentId: number) => `edit-comment:${commentId}`,
  editDiscussion: (discussionId: number) => `edit-discussion:${discussionId}`,
  summary: (articleId: number, communityId: number) => `summary:${articleId}:${communityId}`,
};

/** One user's drafts. All tabs of the browser share them, and they survive reloads. */
export class Drafts {
  readonly #listeners = new Listeners<void>();
  readonly #known = new Map<string, Draft | undefined>();
  readonly #prefix: string;

  constructor(
    user: User,
    private readonly storage: KeptStorage | undefined,
  ) {
    this.#prefix = `scicommons-discussions:draft:${normalUser(user) ?? ""}:`;
  }

  /** Follows the changes of other tabs until the returned function is called. */
  start(): () => void {
    if (typeof window === "undefined") return () => undefined;
    const onStorage = (event: StorageEvent) => {
      if (event.key !== null && !event.key.startsWith(this.#prefix)) return;
      this.#known.clear();
      this.#listeners.call();
    };
    window.addEventListener("storage", onStorage);
    return () => window.removeEventListener("storage", onStorage);
  }

  readonly subscribe = (listener: () => void) => this.#listeners.add(listener);

  /** Returns the same object until the draft changes. */
  get(place: string): Draft | undefined {
    if (!this.#known.has(place)) {
      const kept = read(this.storage, this.#prefix + place) as Partial<Draft> | null;
      const whole =
        kept && typeof kept.text === "string" && typeof kept.topic === "string" && typeof kept.key === "string";
      this.#known.set(place, whole ? (kept as Draft) : undefined);
    }
    return this.#known.get(place);
  }

  /** `from` is what the user begins to edit. It stays until the draft is discarded, sent or based on another version. */
  set(place: string, { text, topic }: { text: string; topic: string }, from?: Version): void {
    const before = this.get(place);
    if (before?.text === text && before.topic === topic) return;
    this.#put(place, { text, topic, key: before?.key ?? newKey(), from: before ? before.from : from });
  }

  /** The user has seen this version and keeps the draft. */
  rebase(place: string, from: Version): void {
    const draft = this.get(place);
    if (draft) this.#put(place, { ...draft, from });
  }

  #put(place: string, draft: Draft): void {
    this.#known.set(place, draft);
    write(this.storage, this.#prefix + place, draft);
    this.#listeners.call();
  }

  /** Puts a text back, before the text that the draft has now. */
  prepend(place: string, words: { text: string; topic: string }): void {
    const now = this.get(place);
    const text = now?.text ? `${words.text}\n\n${now.text}` : words.text;
    this.set(place, { text, topic: now?.topic || words.topic });
  }

  /** Deletes the draft, after it was sent or because the user discards it. */
  discard(place: string): void {
    if (this.get(place) === undefined) return;
    this.#known.set(place, undefined);
    write(this.storage, this.#prefix + place, undefined);
    this.#listeners.call();
  }
}

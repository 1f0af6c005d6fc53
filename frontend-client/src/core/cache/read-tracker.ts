import type { KnownEvent } from "../events.js";
import type { PageSignals, Timers } from "../live/environment.js";
import type { ReadMarks } from "./read-marks.js";

/** What has been in view for this long is read. */
const READ_MS = 1_000;
/** A timer that is later than this shows that the machine slept. Nobody has read meanwhile. */
const LATE_MS = 1_000;
/** Small ones too, because the part of a long text that fits in the window may be small. */
const thresholds = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];

interface Target {
  discussionId: number;
  /** The comment; 0 for the discussion's own text. */
  id: number;
}

/** Marks as read what is in view for a second, while the page is visible and has the focus. */
export class ReadTracker {
  readonly #targets = new Map<Element, Target>();
  /** By element in view: since when it is read, as far as is known. */
  readonly #inView = new Map<Element, number>();
  /** The same of elements that a render takes away, and gives back at once if it made another `ref`. */
  readonly #left = new Map<Element, number>();
  /** By open discussion: how many hooks follow it, and what is not marked any more, because it was already or is to stay unread. */
  readonly #open = new Map<number, { hooks: number; done: Set<number> }>();
  #observer: IntersectionObserver | undefined;
  #timer: unknown;
  #isStarted = false;

  constructor(
    private readonly marks: ReadMarks,
    private readonly timers: Timers,
    private readonly page: PageSignals,
  ) {}

  start(): () => void {
    this.#isStarted = true;
    const unsubscribes = [
      this.page.on("visibility", () => this.#restart()),
      this.page.on("focus", () => this.#restart()),
      this.marks.onUnread(({ discussionId, ids }) => this.#leaveUnread(discussionId, ids)),
    ];
    this.#restart();
    return () => {
      unsubscribes.forEach((unsubscribe) => unsubscribe());
      this.#isStarted = false;
      this.#stopTimer();
    };
  }

  /** Begins a reading of the discussion. The returned function ends it. */
  open(discussionId: number): () => void {
    const reading = this.#readingOf(discussionId);
    reading.hooks += 1;
    return () => {
      reading.hooks -= 1;
      if (reading.hooks === 0) this.#open.delete(discussionId);
    };
  }

  observe(element: Element, target: Target): void {
    if (typeof IntersectionObserver === "undefined" || target.id < 0) return;
    this.#observer ??= new IntersectionObserver((entries) => this.#onEntries(entries), { threshold: thresholds });
    this.#targets.set(element, target);
    this.#observer.observe(element);
    const since = this.#left.get(element);
    if (since !== undefined) this.#inView.set(element, since);
  }

  unobserve(element: Element): void {
    const since = this.#inView.get(element);
    if (since !== undefined) {
      this.#left.set(element, since);
      queueMicrotask(() => this.#left.delete(element));
    }
    this.#targets.delete(element);
    this.#inView.delete(element);
    this.#observer?.unobserve(element);
  }

  /** Folds events into the cache by `fold`. What another tab marks as unread is not read again, although it is in view. */
  around(events: readonly KnownEvent[], fold: () => void): void {
    const marked = events.flatMap((event) =>
      event.type === "read_state_changed" && this.#open.has(event.discussion_id) ? event.discussion_id : [],
    );
    const before = new Map([...new Set(marked)].map((id) => [id, this.marks.unreadOf(id)]));
    fold();
    if (before.size === 0) return;
    const arrived = new Set(events.flatMap((event) => (event.type === "new_comment" ? event.comment_id : [])));
    for (const [id, unread] of before) {
      const turned = [...this.marks.unreadOf(id)].filter((one) => !unread.has(one) && !arrived.has(one));
      this.#leaveUnread(id, turned);
    }
  }

  #readingOf(discussionId: number) {
    let reading = this.#open.get(discussionId);
    if (!reading) this.#open.set(discussionId, (reading = { hooks: 0, done: new Set() }));
    return reading;
  }

  #leaveUnread(discussionId: number, ids: readonly number[]): void {
    const reading = this.#open.get(discussionId);
    ids.forEach((id) => reading?.done.add(id));
  }

  #onEntries(entries: readonly IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting, intersectionRatio, intersectionRect, rootBounds } of entries) {
      const fills = intersectionRect.height >= (rootBounds?.height ?? Infinity) / 2;
      const isInView = isIntersecting && (intersectionRatio >= 0.5 || fills);
      if (!isInView || !this.#targets.has(target)) this.#inView.delete(target);
      else if (!this.#inView.has(target)) this.#inView.set(target, this.timers.now());
    }
    this.#schedule();
  }

  #isAttentive(): boolean {
    return this.#isStarted && this.page.isVisible() && (this.page.hasFocus?.() ?? true);
  }

  /** Begins the second anew for everything in view. */
  #restart(): void {
    this.#stopTimer();
    const now = this.timers.now();
    for (const element of this.#inView.keys()) this.#inView.set(element, now);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#inView.size === 0 || !this.#isAttentive()) return;
    const now = this.timers.now();
    const wait = Math.max(0, Math.min(...this.#inView.values()) + READ_MS - now);
    this.#timer = this.timers.set(() => {
      this.#timer = undefined;
      const late = this.timers.now() - now - wait;
      if (late > LATE_MS || late < 0) return this.#restart();
      this.#read();
      this.#schedule();
    }, wait);
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.timers.clear(this.#timer);
    this.#timer = undefined;
  }

  /** Marks what was in view for long enough. */
  #read(): void {
    const now = this.timers.now();
    if (!this.#isAttentive()) return;
    const unread = new Map<number, Set<number>>();
    const seen = new Map<number, number[]>();
    for (const [element, since] of this.#inView) {
      const target = this.#targets.get(element);
      if (!target || now - since < READ_MS) continue;
      const { discussionId, id } = target;
      if (isCovered(element)) {
        this.#inView.set(element, now);
        continue;
      }
      this.#inView.delete(element);
      const ofDiscussion = unread.get(discussionId) ?? this.marks.unreadOf(discussionId);
      unread.set(discussionId, ofDiscussion);
      const { done } = this.#readingOf(discussionId);
      if (!ofDiscussion.has(id) || done.has(id)) continue;
      done.add(id);
      seen.set(discussionId, [...(seen.get(discussionId) ?? []), id]);
    }
    for (const [discussionId, ids] of seen)
      this.marks.markSeen(discussionId, { discussion: ids.includes(0), ids: ids.filter((id) => id !== 0) });
  }
}

/** Whether something else, such as a bar or a dialog, is over the middle of what shows of the element. */
function isCovered(element: Element): boolean {
  if (typeof document.elementFromPoint !== "function") return false;
  const { top, bottom, left, right } = element.getBoundingClientRect();
  const middle = (Math.max(0, top) + Math.min(window.innerHeight, bottom)) / 2;
  const over = document.elementFromPoint((left + right) / 2, middle);
  return over !== null && !element.contains(over) && !over.contains(element);
}

import type { ViewerInfo } from "@scicommons/discussions-client";
import { useRealtimeEvents } from "@scicommons/discussions-client/react";
import { useState } from "react";
import { announce } from "./announce";
import { Value } from "./value";

const none: ReadonlySet<number> = new Set();

/** The ids of comments by others that arrived while their discussion was open. */
export class Arrivals {
  /** Those to mark. */
  readonly fresh = new Value(none);
  /** Those that the reader has not gone to. */
  readonly unseen = new Value(none);

  add(id: number): void {
    const unseen = new Set([...this.unseen.get(), id]);
    // Those that the reader has gone to stay marked until more arrive.
    this.fresh.set(unseen);
    this.unseen.set(unseen);
  }

  /** The first one that the reader has not gone to. The reader has gone to all of them then. */
  take(): number | undefined {
    const unseen = this.unseen.get();
    this.unseen.set(none);
    return unseen.size === 0 ? undefined : Math.min(...unseen);
  }
}

/** Follows the arrivals of a discussion. An arrival renders its comment and the count, and not the whole thread. */
export function useArrivals(discussionId: number, viewer: ViewerInfo | null): Arrivals {
  const [arrivals] = useState(() => new Arrivals());
  useRealtimeEvents((event) => {
    if (event.type !== "new_comment" || event.discussion_id !== discussionId) return;
    const { author, comment_id } = event;
    // Without an author the comment is deleted by now.
    if (!author) return;
    const own =
      author.id === null
        ? viewer?.memberships.some((membership) => membership.pseudonym === author.username)
        : author.id === viewer?.user_id;
    if (own) return;
    arrivals.add(comment_id);
    const { size } = arrivals.unseen.get();
    announce(size === 1 ? `1 new comment, by ${author.username}` : `${size} new comments`);
  });
  return arrivals;
}

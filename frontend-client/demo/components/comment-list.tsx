"use client";
import type { CommentItem } from "@scicommons/discussions-client/react";
import { memo, useLayoutEffect, useMemo, useRef, useState, type CSSProperties } from "react";
import { Groups, type Group } from "../lib/groups";
import { Comment, type CommentProps } from "./comment";

/** How many comments a group has. */
const GROUP = 25;

export interface CommentListProps extends Omit<CommentProps, "comment"> {
  comments: readonly CommentItem[];
  hasMore: boolean;
  isFetchingMore: boolean;
  onMore: () => void;
  hasEarlier: boolean;
  isFetchingEarlier: boolean;
  onEarlier: () => void;
}

/**
 * The comments. What is not loaded yet has its button at its place, and the user's own new comments stand after it. Renders only
 * when they change.
 */
export const CommentList = memo(function CommentList({
  comments,
  hasMore,
  isFetchingMore,
  onMore,
  hasEarlier,
  isFetchingEarlier,
  onEarlier,
  ...shared
}: CommentListProps) {
  const list = useRef<HTMLDivElement>(null);
  /** The first comment when earlier ones were asked for. It stays at its place on the screen. */
  const held = useRef<{ element: Element; top: number }>(undefined);
  const showEarlier = () => {
    const element = list.current?.querySelector(".comment[id]");
    held.current = element ? { element, top: element.getBoundingClientRect().top } : undefined;
    onEarlier();
  };
  useLayoutEffect(() => {
    if (isFetchingEarlier || !held.current) return;
    const { element, top } = held.current;
    held.current = undefined;
    window.scrollBy({ top: element.getBoundingClientRect().top - top, behavior: "instant" });
  }, [isFetchingEarlier, comments]);
  const [groups] = useState(() => new Groups<CommentItem>(GROUP));
  const [loaded = [], own = []] = useMemo(() => {
    const end = hasMore ? comments.length - ownAtTheEnd(comments) : comments.length;
    return groups.arrange(comments.slice(0, end), comments.slice(end));
  }, [groups, comments, hasMore]);
  const shown = ({ key, items }: Group<CommentItem>) => <CommentGroup key={key} comments={items} {...shared} />;
  return (
    <div className="comments" ref={list}>
      {hasEarlier && (
        <div key="earlier" className="more">
          <button type="button" className="quiet" disabled={isFetchingEarlier} onClick={showEarlier}>
            Show earlier comments
          </button>
        </div>
      )}
      {loaded.map(shown)}
      {hasMore && (
        <div key="more" className="more">
          <button type="button" className="quiet" disabled={isFetchingMore} onClick={onMore}>
            Show more comments
          </button>
        </div>
      )}
      {own.map(shown)}
    </div>
  );
});

interface CommentGroupProps extends Omit<CommentProps, "comment"> {
  comments: readonly CommentItem[];
}

/** Some comments that follow each other. Where they are far from the window, the browser does not lay them out. */
const CommentGroup = memo(function CommentGroup({ comments, ...shared }: CommentGroupProps) {
  // It does not change. Otherwise the browser would not hold what is read when comments come to this group and above it at once.
  const [count] = useState(comments.length);
  return (
    <ul className="group" style={{ "--count": count } as CSSProperties}>
      {comments.map((comment) => (
        <Comment key={comment.key} comment={comment} {...shared} />
      ))}
    </ul>
  );
});

/**
 * How many comments at the end the user has just written, so that they are on no loaded page: such a comment has the key of its
 * sending and not that of its id.
 */
function ownAtTheEnd(comments: readonly CommentItem[]): number {
  let count = 0;
  while (count < comments.length) {
    const comment = comments[comments.length - 1 - count];
    if (!comment || comment.key === String(comment.id)) break;
    count += 1;
  }
  return count;
}

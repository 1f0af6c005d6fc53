"use client";
import type { DiscussionItem } from "@scicommons/discussions-client/react";
import { Avatar } from "./byline";
import { Time } from "./time";

export interface DiscussionListProps {
  discussions: DiscussionItem[];
  current: number | "new" | undefined;
  communityName: (id: number) => string;
  showCommunity: boolean;
  myName: string;
  onOpen: (id: number) => void;
  onRetry: (key: string) => void;
  onDiscard: (key: string) => void;
}

export function DiscussionList({
  discussions,
  current,
  communityName,
  showCommunity,
  myName,
  onOpen,
  onRetry,
  onDiscard,
}: DiscussionListProps) {
  return (
    <ul className="list">
      {discussions.map((discussion) => {
        const name = discussion.author?.username || (discussion.mine ? myName : "");
        const comments = discussion.comment_count === 1 ? "1 comment" : `${discussion.comment_count} comments`;
        return (
          <li key={discussion.key}>
            <button
              type="button"
              className="card"
              aria-current={current === discussion.id ? "true" : undefined}
              disabled={discussion.id < 0}
              onClick={() => onOpen(discussion.id)}
            >
              <span className="topic">
                {discussion.topic ?? <em>Deleted discussion</em>}
                {discussion.is_resolved && <span className="resolved">Resolved</span>}
              </span>
              <span className="meta">
                {name && (
                  <Avatar name={name} pseudonym={discussion.author?.id === null && discussion.author.username !== ""} />
                )}
                {name && <span>{name}</span>}
                {showCommunity && <span>{communityName(discussion.community_id)}</span>}
                {discussion.pending && discussion.id < 0 ? (
                  <span>sending…</span>
                ) : (
                  <Time value={discussion.created_at} />
                )}
                <span className="comments-count">{comments}</span>
              </span>
            </button>
            {discussion.error !== undefined && (
              <p role="alert" className="failure">
                Not sent.{" "}
                <button type="button" className="link" onClick={() => onRetry(discussion.key)}>
                  Try again
                </button>{" "}
                <button type="button" className="link" onClick={() => onDiscard(discussion.key)}>
                  Discard
                </button>
              </p>
            )}
          </li>
        );
      })}
    </ul>
  );
}

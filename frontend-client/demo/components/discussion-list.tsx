"use client";
import type { DiscussionItem } from "@scicommons/discussions-client/react";
import { Avatar } from "./byline";
import { Time } from "./time";
import { Unsent } from "./unsent";

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
              <span className="topic" dir="auto">
                {discussion.topic ?? <em>Deleted discussion</em>}
                {discussion.is_resolved && <span className="resolved">Resolved</span>}
              </span>
              <span className="meta">
                {name && (
                  <Avatar name={name} pseudonym={discussion.author?.id === null && discussion.author.username !== ""} />
                )}
                {name && <bdi>{name}</bdi>}
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
              <Unsent
                pending={discussion.pending}
                error={discussion.error}
                onRetry={() => onRetry(discussion.key)}
                onDiscard={() => onDiscard(discussion.key)}
              />
            )}
          </li>
        );
      })}
    </ul>
  );
}

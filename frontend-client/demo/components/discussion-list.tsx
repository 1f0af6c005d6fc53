"use client";
import type { DiscussionItem } from "@scicommons/discussions-client/react";
import { memo, type MouseEvent } from "react";
import { Avatar } from "./byline";
import { Time } from "./time";
import { UnreadDot } from "./unread-dot";
import { Unsent } from "./unsent";

export interface DiscussionListProps {
  discussions: DiscussionItem[];
  current: number | "new" | undefined;
  /** The community's name, if it is to be shown. */
  communityName: (id: number) => string | undefined;
  /** The user's name in a community, until the server has said it. */
  ownName: (communityId: number) => string;
  link: (id: number) => { href: string; onClick: (event: MouseEvent) => void };
  onRetry: (key: string) => void;
  onEdit: (key: string) => void;
  onDiscard: (key: string) => void;
}

export function DiscussionList({ discussions, current, communityName, ownName, ...rest }: DiscussionListProps) {
  return (
    <ul className="list">
      {discussions.map((discussion) => (
        <Card
          key={discussion.key}
          discussion={discussion}
          isCurrent={current === discussion.id}
          community={communityName(discussion.community_id)}
          name={discussion.author?.username || (discussion.mine ? ownName(discussion.community_id) : "")}
          {...rest}
        />
      ))}
    </ul>
  );
}

interface CardProps extends Pick<DiscussionListProps, "link" | "onRetry" | "onEdit" | "onDiscard"> {
  discussion: DiscussionItem;
  isCurrent: boolean;
  community: string | undefined;
  name: string;
}

/** Renders only when its discussion changed, or the address. */
const Card = memo(function Card({ discussion, isCurrent, community, name, ...on }: CardProps) {
  const { author, id, key } = discussion;
  const comments = discussion.comment_count === 1 ? "1 comment" : `${discussion.comment_count} comments`;
  const unread = discussion.unread_count ?? 0;
  const content = (
    <>
      <span className="topic" dir="auto">
        {(discussion.is_unread === true || unread > 0) && <UnreadDot />}
        {discussion.topic ?? <em>Deleted discussion</em>}
        {discussion.is_resolved && <span className="resolved">Resolved</span>}
      </span>
      <span className="meta">
        {name && <Avatar name={name} pseudonym={author?.id === null && author.username !== ""} />}
        {name && <bdi>{name}</bdi>}
        {community !== undefined && <span>{community}</span>}
        {discussion.pending && id < 0 ? <span>sending…</span> : <Time value={discussion.created_at} />}
        <span className="comments-count">
          {comments}
          {unread > 0 && <span className="unread-count">{unread} unread</span>}
          {discussion.follow_level === "mute" && <span className="muted-sign">muted</span>}
        </span>
      </span>
    </>
  );
  return (
    <li>
      {id < 0 ? (
        <div className="card" aria-busy="true">
          {content}
        </div>
      ) : (
        <a className="card" data-id={id} aria-current={isCurrent ? "true" : undefined} {...on.link(id)}>
          {content}
        </a>
      )}
      {discussion.error !== undefined && (
        <Unsent
          what="discussion"
          pending={discussion.pending}
          error={discussion.error}
          onRetry={() => on.onRetry(key)}
          onEdit={() => on.onEdit(key)}
          onDiscard={() => on.onDiscard(key)}
        />
      )}
    </li>
  );
});

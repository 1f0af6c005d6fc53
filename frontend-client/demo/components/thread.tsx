"use client";
import {
  explain,
  isApiError,
  type DiscussionPatch,
  type ViewerInfo,
  type VoteValue,
} from "@scicommons/discussions-client";
import {
  places,
  useComments,
  useReadTracking,
  type DiscussionItem,
  type RemoveOptions,
  type UpdateOptions,
} from "@scicommons/discussions-client/react";
import { memo, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { announce } from "../lib/announce";
import type { DemoCommunity } from "../lib/demo-api";
import { bringIntoView } from "../lib/reveal";
import { PlaceContext } from "../lib/place";
import { ownName, signatureIn } from "../lib/signs";
import { firstUnread } from "../lib/unread";
import { useArrivals } from "../lib/use-arrivals";
import { useFinder } from "../lib/use-finder";
import { useHold } from "../lib/use-hold";
import { Value } from "../lib/value";
import type { Navigation } from "../lib/view";
import { takePlace, useArrival } from "../lib/visits";
import { AccessNotice } from "./access-notice";
import { Audience } from "./audience";
import type { CommentActions } from "./comment";
import { CommentList } from "./comment-list";
import { Composer } from "./composer";
import { DiscussionHeader } from "./discussion-header";
import { Dock } from "./dock";
import { LostDraft } from "./lost-draft";
import { Notice } from "./notice";

/** How long a deletion can be undone. */
const UNDO_MS = 6_000;

export interface ThreadProps {
  discussion: DiscussionItem;
  viewer: ViewerInfo | null;
  community: DemoCommunity;
  username: string;
  /** The comment of the address. */
  linked: number | undefined;
  update: (id: number, patch: DiscussionPatch, options?: UpdateOptions) => Promise<unknown>;
  remove: (id: number, options?: RemoveOptions) => Promise<unknown>;
  undo: (key: string) => void;
  vote: (id: number, value: VoteValue) => Promise<unknown>;
  link: Navigation["link"];
}

/** Renders only when the discussion or its comments changed. */
export const Thread = memo(function Thread(props: ThreadProps) {
  const { discussion, viewer: ofList, community, username, linked, link } = props;
  /** The comment that the thread is loaded around. */
  const [around, setAround] = useState<number>();
  const thread = useComments(discussion.id, { communityId: discussion.community_id, around });
  const { comments, create, access, edit, retry, discard, update, remove, vote, markUnread, fetchMore, fetchEarlier } =
    thread;
  const viewer = thread.viewer ?? ofList;
  const role = viewer?.memberships.find((membership) => membership.community_id === discussion.community_id)?.role;
  const isMember = role !== undefined && access.state === "granted";
  const moderates = role === "moderator" || role === "admin";
  const observe = useReadTracking(discussion.id, { enabled: isMember });
  // The line stays where it was when the thread was opened.
  const [opened, setOpened] = useState<{ firstNew: number | undefined }>();
  if (!opened && !thread.isPending) setOpened({ firstNew: firstUnread(discussion, comments) });
  const isOpen = community.kind === "open" && access.state === "granted";
  const mayWrite = (isMember || isOpen) && discussion.deleted_at === null;
  const place = useMemo(
    () => ({ communityId: discussion.community_id, articleId: discussion.article_id, viewer }),
    [discussion.community_id, discussion.article_id, viewer],
  );
  const signature = signatureIn(discussion.community_id, viewer, username, [
    discussion.author,
    ...comments.map(({ id, author }) => (id > 0 ? author : null)),
  ]);
  const myName = ownName(signature);
  /** The comment whose unsent reply was moved back into its field. */
  const [reopened] = useState(() => new Value<number | undefined>(undefined));
  const arrivals = useArrivals(discussion.id, viewer);
  const finder = useFinder(thread, around, setAround);
  const heading = useRef<HTMLHeadingElement>(null);
  const ownNew = useRef<string>(undefined);
  useHold();
  useArrival(!thread.isPending, (place, taken) => {
    if (place && !taken) finder.find(Number(place.comment?.id.split("-")[1]), () => takePlace(place));
    if (linked !== undefined && !place) return finder.find(linked);
    if (!heading.current) return;
    if (!place) bringIntoView(heading.current);
    heading.current.focus({ preventScroll: true });
  });
  // Whoever sends a comment sees where it stands, at once and when it is sent: it is taller then.
  useEffect(() => {
    const own = ownNew.current && comments.find(({ key }) => key === ownNew.current);
    if (!own) return;
    if (own.id > 0) ownNew.current = undefined;
    document.querySelector(`#comment-${own.id} > article`)?.scrollIntoView({ block: "nearest" });
  }, [comments]);

  const actions = useMemo<CommentActions>(() => {
    const toField = () => document.getElementById("write")?.focus();
    return {
      reply: (parent_id, text, key) => create({ text, parent_id }, { key }).then(() => announce("Reply sent")),
      update,
      remove: (id) => remove(id, { undoMs: UNDO_MS }),
      vote,
      markUnread,
      retry,
      edit: (key, parentId) => {
        edit(key);
        if (parentId !== null) reopened.set(parentId);
        else toField();
      },
      discard: (key) => {
        discard(key);
        toField();
      },
      closeReply: () => reopened.set(undefined),
    };
  }, [create, edit, update, remove, vote, markUnread, retry, discard, reopened]);
  const send = (text: string, key: string | undefined) => {
    ownNew.current = key;
    return create({ text }, { key }).then(() => announce("Comment sent"));
  };
  const showFirst = () => {
    const first = arrivals.take();
    if (first !== undefined) finder.find(first);
  };
  const unread = discussion.unread_count ?? 0;
  const showUnread = () => {
    const first = firstUnread(discussion, comments);
    if (first !== undefined) finder.find(first);
  };
  const showMore = useCallback(() => void fetchMore(), [fetchMore]);
  const showEarlier = useCallback(() => void fetchEarlier(), [fetchEarlier]);
  const isLost = access.state === "denied" || access.state === "closed" || (access.state === "removed" && thread.error);
  return (
    <section className="thread" aria-labelledby={isLost ? undefined : "thread-topic"}>
      <a className="back" {...link({ discussion: undefined })}>
        ← All discussions
      </a>
      <AccessNotice access={access} community={community.name} />
      {!isLost && (
        <PlaceContext value={place}>
          <DiscussionHeader
            discussion={discussion}
            community={community}
            myName={myName}
            may={{
              vote: mayWrite && !discussion.mine && discussion.own_vote !== null,
              follow: isMember && discussion.id > 0,
              edit: mayWrite && discussion.mine,
              resolve: mayWrite && (discussion.mine || moderates),
              delete: mayWrite && (discussion.mine || moderates),
            }}
            heading={heading}
            update={props.update}
            remove={(id) => props.remove(id, { undoMs: UNDO_MS })}
            undo={props.undo}
            vote={props.vote}
            observe={observe}
          />
          <div className="count">
            <h3>{discussion.comment_count === 1 ? "1 comment" : `${discussion.comment_count} comments`}</h3>
            {unread > 0 && (
              <button
                type="button"
                className="link"
                aria-label={`${unread} unread: go to the first unread comment`}
                onClick={showUnread}
              >
                {unread} unread
              </button>
            )}
          </div>
          {thread.error && !isApiError(thread.error, "comment_not_found") && (
            <Notice
              text={`${comments.length > 0 ? "More comments" : "The comments"} could not be loaded: ${explain(thread.error)}`}
              what="comments"
              onRetry={() => void thread.refetch()}
            />
          )}
          {finder.search && <Searching {...finder.search} onRetry={finder.find} onClose={finder.forget} />}
          {thread.isPending && <p className="muted">Loading…</p>}
          <CommentList
            comments={comments}
            hasMore={thread.hasMore}
            isFetchingMore={thread.isFetchingMore}
            onMore={showMore}
            hasEarlier={thread.hasEarlier}
            isFetchingEarlier={thread.isFetchingEarlier}
            onEarlier={showEarlier}
            actions={actions}
            myName={myName}
            mayWrite={mayWrite}
            isMember={isMember}
            firstNew={opened?.firstNew}
            observe={observe}
            mayDeleteAny={moderates}
            fresh={arrivals.fresh}
            reopened={reopened}
          />
          <Dock unseen={arrivals.unseen} onShow={showFirst}>
            {mayWrite ? (
              <Composer
                id="write"
                place={places.comment(discussion.id)}
                label="Write a comment"
                action="Comment"
                audience={<Audience community={community} signature={signature} />}
                onSend={(text, _, key) => send(text, key)}
              />
            ) : (
              !thread.isPending && <LostDraft place={places.comment(discussion.id)} />
            )}
            {!isMember && !isOpen && !thread.isPending && !thread.error && access.state === "granted" && (
              <p className="muted">Members of {community.name} can write here.</p>
            )}
          </Dock>
        </PlaceContext>
      )}
    </section>
  );
});

const searching = {
  looking: "Looking for the comment…",
  missing: "The comment of this link is not in this discussion.",
  failed: "The comment could not be loaded.",
};

interface SearchingProps {
  id: number;
  state: keyof typeof searching;
  onRetry: (id: number) => void;
  onClose: () => void;
}

/** Says what became of the comment that the reader wants to see. */
function Searching({ id, state, onRetry, onClose }: SearchingProps) {
  if (state === "looking") return <p className="muted">{searching.looking}</p>;
  return (
    <Notice text={searching[state]} what="comment" {...(state === "failed" && { onRetry: () => onRetry(id) })}>
      <button type="button" className="link" onClick={onClose}>
        Close
      </button>
    </Notice>
  );
}

"use client";
import type { DiscussionPatch, ViewerInfo } from "@scicommons/discussions-client";
import { useComments, useRealtimeEvents, type DiscussionItem } from "@scicommons/discussions-client/react";
import { useEffect, useMemo, useRef, useState } from "react";
import { AccessNotice } from "./access-notice";
import { Byline } from "./byline";
import { Comment, type CommentActions } from "./comment";
import { Composer } from "./composer";
import { Markdown } from "./markdown";

export interface ThreadProps {
  discussion: DiscussionItem;
  viewer: ViewerInfo | null;
  community: string;
  myName: string;
  update: (id: number, patch: DiscussionPatch) => Promise<unknown>;
  remove: (id: number) => Promise<unknown>;
  onBack: () => void;
}

export function Thread({ discussion, community, myName, update, remove, onBack }: ThreadProps) {
  const thread = useComments(discussion.id, { communityId: discussion.community_id });
  const { comments, viewer, create, access } = thread;
  const role = viewer?.memberships.find((membership) => membership.community_id === discussion.community_id)?.role;
  const mayWrite = role !== undefined && access.state === "granted" && discussion.deleted_at === null;
  const [editing, setEditing] = useState(false);
  const [failure, setFailure] = useState<string>();
  const { fresh, count, clear } = useArrivals(discussion.id, viewer);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), [discussion.id]);

  const actions = useMemo<CommentActions>(
    () => ({
      reply: (parent_id, text) => create({ text, parent_id }),
      update: thread.update,
      remove: thread.remove,
      retry: thread.retry,
      discard: thread.discard,
    }),
    [create, thread.update, thread.remove, thread.retry, thread.discard],
  );
  const attempt = (promise: Promise<unknown>) => {
    setFailure(undefined);
    promise.catch(() => setFailure("The change was not saved."));
  };
  const showFirst = () => {
    const first = Math.min(...fresh);
    document.getElementById(`comment-${first}`)?.scrollIntoView({ block: "center", behavior: "smooth" });
    clear();
  };
  return (
    <section className="thread" aria-labelledby="thread-topic">
      <button type="button" className="link back" onClick={onBack}>
        ← All discussions
      </button>
      <AccessNotice access={access} community={community} />
      {access.state !== "denied" && !(access.state === "removed" && thread.error) && (
        <>
          <header>
            <p className="eyebrow">
              {community}
              {discussion.is_resolved && <span className="resolved">Resolved</span>}
            </p>
            <h2 id="thread-topic" ref={heading} tabIndex={-1}>
              {discussion.topic ?? "Deleted discussion"}
            </h2>
            {discussion.deleted_at === null ? (
              <>
                <Byline
                  {...discussion}
                  myName={myName}
                  created={discussion.created_at}
                  updated={discussion.updated_at}
                />
                {editing ? (
                  <Composer
                    label="Text"
                    action="Save"
                    withTopic
                    autoFocus
                    wait
                    initialTopic={discussion.topic ?? ""}
                    initialText={discussion.text ?? ""}
                    onCancel={() => setEditing(false)}
                    onSend={async (text, topic) => {
                      await update(discussion.id, { topic, text });
                      setEditing(false);
                    }}
                  />
                ) : (
                  <Markdown text={discussion.text ?? ""} />
                )}
                {mayWrite && !editing && (
                  <p className="actions">
                    {(discussion.mine || role === "admin") && (
                      <button
                        type="button"
                        className="link"
                        onClick={() => attempt(update(discussion.id, { is_resolved: !discussion.is_resolved }))}
                      >
                        {discussion.is_resolved ? "Reopen" : "Mark as resolved"}
                      </button>
                    )}
                    {discussion.mine && (
                      <button type="button" className="link" onClick={() => setEditing(true)}>
                        Edit
                      </button>
                    )}
                    {(discussion.mine || role === "admin" || role === "moderator") && (
                      <button type="button" className="link" onClick={() => attempt(remove(discussion.id))}>
                        Delete
                      </button>
                    )}
                  </p>
                )}
              </>
            ) : (
              <p className="muted gone">This discussion was deleted. Its comments stay readable.</p>
            )}
            {failure && (
              <p role="alert" className="failure">
                {failure}
              </p>
            )}
          </header>
          <h3 className="count">
            {discussion.comment_count === 1 ? "1 comment" : `${discussion.comment_count} comments`}
          </h3>
          <p aria-live="polite" className="visually-hidden">
            {count > 0 && `${count} new ${count === 1 ? "comment" : "comments"}`}
          </p>
          {thread.isPending ? (
            <p className="muted">Loading…</p>
          ) : (
            <ul className="comments">
              {comments.map((comment) => (
                <Comment
                  key={comment.key}
                  comment={comment}
                  actions={actions}
                  myName={myName}
                  mayWrite={mayWrite}
                  mayDeleteAny={role === "admin" || role === "moderator"}
                  fresh={fresh}
                />
              ))}
            </ul>
          )}
          {thread.hasMore && (
            <button
              type="button"
              className="quiet"
              disabled={thread.isFetchingMore}
              onClick={() => void thread.fetchMore()}
            >
              Show more comments
            </button>
          )}
          {count > 0 && (
            <button type="button" className="pill" onClick={showFirst}>
              {count} new
            </button>
          )}
          {mayWrite && <Composer label="Write a comment" action="Comment" onSend={(text) => create({ text })} />}
          {!mayWrite && !thread.isPending && access.state === "granted" && discussion.deleted_at === null && (
            <p className="muted">Members of {community} can write here.</p>
          )}
        </>
      )}
    </section>
  );
}

/** Comments by others that came while this discussion was open. */
function useArrivals(discussionId: number, viewer: ViewerInfo | null) {
  const [arrived, setArrived] = useState<{ discussionId: number; ids: ReadonlySet<number>; seen: boolean }>();
  useRealtimeEvents((event) => {
    if (event.type !== "new_comment" || event.discussion_id !== discussionId) return;
    const own =
      event.author.id === null
        ? viewer?.memberships.some((membership) => membership.pseudonym === event.author.username)
        : event.author.id === viewer?.user_id;
    if (own) return;
    setArrived((before) => {
      const current = before?.discussionId === discussionId && !before.seen ? before.ids : new Set<number>();
      return { discussionId, ids: new Set([...current, event.comment_id]), seen: false };
    });
  });
  const mine = arrived?.discussionId === discussionId ? arrived : undefined;
  return {
    fresh: mine?.ids ?? new Set<number>(),
    count: mine && !mine.seen ? mine.ids.size : 0,
    clear: () => setArrived((before) => before && { ...before, seen: true }),
  };
}

"use client";
import { explain, type DiscussionPatch, type ViewerInfo } from "@scicommons/discussions-client";
import { isDiscarded } from "../lib/discarded";
import {
  places,
  useComments,
  useRealtimeEvents,
  type DiscussionItem,
  type UpdateOptions,
} from "@scicommons/discussions-client/react";
import { useEffect, useMemo, useRef, useState } from "react";
import { AccessNotice } from "./access-notice";
import { Byline } from "./byline";
import { Comment, type CommentActions } from "./comment";
import { Composer } from "./composer";
import { LostDraft } from "./lost-draft";
import { Markdown } from "./markdown";

/** How long a deletion can be undone. */
export const UNDO_MS = 6_000;

export interface ThreadProps {
  discussion: DiscussionItem;
  viewer: ViewerInfo | null;
  community: string;
  myName: string;
  update: (id: number, patch: DiscussionPatch, options?: UpdateOptions) => Promise<unknown>;
  remove: (id: number) => Promise<unknown>;
  undo: (key: string) => void;
  onBack: () => void;
}

export function Thread({ discussion, community, myName, update, remove, undo, onBack }: ThreadProps) {
  const thread = useComments(discussion.id, { communityId: discussion.community_id });
  const {
    comments,
    viewer,
    create,
    access,
    edit,
    retry,
    discard,
    update: updateComment,
    remove: removeComment,
  } = thread;
  const role = viewer?.memberships.find((membership) => membership.community_id === discussion.community_id)?.role;
  const mayWrite = role !== undefined && access.state === "granted" && discussion.deleted_at === null;
  const [editing, setEditing] = useState(false);
  const [failure, setFailure] = useState<string>();
  /** The comment whose unsent reply was moved back into its field. */
  const [reopened, setReopened] = useState<number>();
  const { fresh, count, clear } = useArrivals(discussion.id, viewer);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), [discussion.id]);

  const actions = useMemo<CommentActions>(
    () => ({
      reply: (parent_id, text, key) => create({ text, parent_id }, { key }),
      update: updateComment,
      remove: (id) => removeComment(id, { undoMs: UNDO_MS }),
      retry,
      edit: (key, parentId) => {
        edit(key);
        if (parentId !== null) setReopened(parentId);
      },
      discard,
      closeReply: () => setReopened(undefined),
    }),
    [create, edit, updateComment, removeComment, retry, discard],
  );
  const attempt = (promise: Promise<unknown>) => {
    setFailure(undefined);
    promise.catch((error: unknown) => {
      if (!isDiscarded(error)) setFailure(`The change was not saved: ${explain(error)}`);
    });
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
              {discussion.is_resolved && discussion.resolved_by && (
                <span className="muted">
                  by <bdi>{discussion.resolved_by.username}</bdi>
                </span>
              )}
            </p>
            <h2 id="thread-topic" ref={heading} tabIndex={-1} dir="auto">
              {discussion.topic ?? "Deleted discussion"}
            </h2>
            {discussion.deleted_at === null ? (
              <>
                <Byline {...discussion} myName={myName} created={discussion.created_at} edited={discussion.edited_at} />
                {editing ? (
                  <Composer
                    place={places.editDiscussion(discussion.id)}
                    label="Text"
                    action="Save"
                    withTopic
                    focus
                    wait
                    initialTopic={discussion.topic ?? ""}
                    initialText={discussion.text ?? ""}
                    updatedAt={discussion.updated_at}
                    onCancel={() => setEditing(false)}
                    onSend={(text, topic, _key, from) => update(discussion.id, { topic, text }, { from })}
                    onSent={() => setEditing(false)}
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
              <p className="muted gone">
                This discussion was deleted. Its comments stay readable.{" "}
                {discussion.undo && (
                  <button type="button" className="link" onClick={() => undo(discussion.undo ?? "")}>
                    Undo
                  </button>
                )}
              </p>
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
          {thread.error && (
            <p role="alert" className="notice">
              The comments could not be loaded: {explain(thread.error)}{" "}
              <button type="button" className="link" onClick={() => void thread.refetch()}>
                Try again
              </button>
            </p>
          )}
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
                  reopened={reopened}
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
          {mayWrite ? (
            <Composer
              place={places.comment(discussion.id)}
              label="Write a comment"
              action="Comment"
              onSend={(text, _, key) => create({ text }, { key })}
            />
          ) : (
            !thread.isPending && <LostDraft place={places.comment(discussion.id)} />
          )}
          {!mayWrite &&
            !thread.isPending &&
            !thread.error &&
            access.state === "granted" &&
            discussion.deleted_at === null && <p className="muted">Members of {community} can write here.</p>}
        </>
      )}
    </section>
  );
}

/** Comments by others that arrived while this discussion was open. */
function useArrivals(discussionId: number, viewer: ViewerInfo | null) {
  const [arrived, setArrived] = useState<{ discussionId: number; ids: ReadonlySet<number>; seen: boolean }>();
  useRealtimeEvents((event) => {
    if (event.type !== "new_comment" || event.discussion_id !== discussionId) return;
    const { author } = event;
    // Without an author the comment is deleted by now.
    if (!author) return;
    const own =
      author.id === null
        ? viewer?.memberships.some((membership) => membership.pseudonym === author.username)
        : author.id === viewer?.user_id;
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

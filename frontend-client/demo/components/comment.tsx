"use client";
import { explain, type VoteValue } from "@scicommons/discussions-client";
import { places, type CommentItem, type ObserveRead, type UpdateOptions } from "@scicommons/discussions-client/react";
import { memo, useCallback, useRef, useState } from "react";
import { announce } from "../lib/announce";
import { isDiscarded } from "../lib/discarded";
import { useValue, type Value } from "../lib/value";
import { Byline } from "./byline";
import { Composer } from "./composer";
import { Markdown } from "./markdown";
import { LostDraft } from "./lost-draft";
import { Unsent } from "./unsent";
import { VoteButtons } from "./vote-buttons";

export interface CommentActions {
  reply: (parentId: number, text: string, key: string | undefined) => unknown;
  update: (id: number, text: string, options: UpdateOptions) => Promise<unknown>;
  remove: (id: number) => Promise<unknown>;
  vote: (id: number, value: VoteValue) => Promise<unknown>;
  /** Marks this comment and the later ones as unread. */
  markUnread: (id: number) => Promise<unknown>;
  retry: (key: string) => Promise<unknown>;
  /** Moves an unsent comment back into the field where it was written. */
  edit: (key: string, parentId: number | null) => void;
  discard: (key: string) => void;
  /** Called when the reply that was moved back is closed or sent. */
  closeReply: () => void;
}

export interface CommentProps {
  comment: CommentItem;
  actions: CommentActions;
  myName: string;
  mayWrite: boolean;
  mayDeleteAny: boolean;
  isMember: boolean;
  /** The first comment that was unread when the thread was opened. */
  firstNew: number | undefined;
  observe: ObserveRead;
  /** The comments to mark. */
  fresh: Value<ReadonlySet<number>>;
  /** The comment whose unsent reply was moved back into its field. */
  reopened: Value<number | undefined>;
}

const DEEPEST = 3;
/** Below "3 comments", which is an `h3`. */
const headings = ["h4", "h5", "h6"] as const;

/** Renders only when the comment or a reply below it changed. */
export const Comment = memo(function Comment({ comment, actions, ...shared }: CommentProps) {
  const { myName, mayWrite, mayDeleteAny, isMember, firstNew, observe } = shared;
  const isFresh = useValue(shared.fresh, (ids) => ids.has(comment.id));
  const isReopened = useValue(shared.reopened, (id) => id === comment.id);
  const [mode, setMode] = useState<"read" | "reply" | "edit">("read");
  const [failure, setFailure] = useState<string>();
  const replying = mode === "reply" || isReopened;
  const article = useRef<HTMLElement>(null);
  const unread = comment.is_unread === true;
  const track = unread ? observe(comment.id) : undefined;
  const setArticle = useCallback(
    (element: HTMLElement | null) => {
      article.current = element;
      track?.(element);
    },
    [track],
  );
  /** Returns the focus to the comment, because its field or button disappears. */
  const read = () => {
    setMode("read");
    article.current?.focus({ preventScroll: true });
  };
  const saved = () => {
    read();
    announce("Saved");
  };
  const closeReply = () => {
    read();
    if (isReopened) actions.closeReply();
  };
  if (comment.is_repeated) return <NotLoaded comment={comment} actions={actions} {...shared} />;
  const deleted = comment.deleted_at !== null;
  const sent = comment.id > 0;
  const name = comment.author?.username || myName;
  const remove = () => {
    setFailure(undefined);
    article.current?.focus({ preventScroll: true });
    announce("Comment deleted. It can be undone for some seconds.");
    actions.remove(comment.id).catch((error) => {
      if (!isDiscarded(error)) setFailure(`It could not be deleted: ${explain(error)}`);
    });
  };
  const vote = (value: VoteValue) => {
    setFailure(undefined);
    actions.vote(comment.id, value).catch((error) => {
      if (!isDiscarded(error)) setFailure(`The vote was not counted: ${explain(error)}`);
    });
  };
  const markUnread = () => {
    setFailure(undefined);
    announce("Marked as unread");
    actions.markUnread(comment.id).catch((error) => setFailure(`It was not marked: ${explain(error)}`));
  };
  const undo = () => {
    actions.discard(comment.undo ?? "");
    article.current?.focus({ preventScroll: true });
    announce("The comment is back");
  };
  const Heading = headings[comment.depth - 1] ?? "h6";
  return (
    <li className="comment" id={`comment-${comment.id}`} data-fresh={isFresh || undefined}>
      {comment.id === firstNew && <p className="since">New since your last visit</p>}
      <article
        ref={setArticle}
        tabIndex={-1}
        aria-label={deleted ? "Deleted comment" : `Comment by ${name}`}
        data-pending={comment.pending || undefined}
      >
        {deleted ? (
          <>
            <Heading className="visually-hidden">Deleted comment</Heading>
            <p className="muted gone">
              This comment was deleted.{" "}
              {comment.undo && (
                <button type="button" className="link" aria-label="Undo the deletion of the comment" onClick={undo}>
                  Undo
                </button>
              )}
            </p>
          </>
        ) : (
          <>
            <Byline
              {...comment}
              myName={myName}
              created={comment.created_at}
              edited={comment.edited_at}
              pending={comment.pending && !sent}
              unread={unread}
              heading={(shown) => (
                <Heading>
                  <span className="visually-hidden">{comment.depth === 1 ? "Comment by " : "Reply by "}</span>
                  {shown}
                </Heading>
              )}
              link={`#comment-${comment.id}`}
            />
            {mode === "edit" ? (
              <Composer
                place={places.editComment(comment.id)}
                label="Edit your comment"
                action="Save"
                initialText={comment.text ?? ""}
                updatedAt={comment.updated_at}
                focus
                wait
                onCancel={read}
                onSend={(text, _topic, _key, from) => actions.update(comment.id, text, { from })}
                onSent={saved}
              />
            ) : (
              <Markdown text={comment.text ?? ""} mentions={comment.mentions} />
            )}
            {comment.error !== undefined && (
              <Unsent
                pending={comment.pending}
                error={comment.error}
                onRetry={() => void actions.retry(comment.key).catch(() => undefined)}
                onEdit={() => actions.edit(comment.key, comment.parent_id)}
                onDiscard={() => actions.discard(comment.key)}
                what={comment.depth === 1 ? "comment" : "reply"}
              />
            )}
            {mode === "read" && sent && (isMember || comment.upvotes + comment.downvotes > 0) && (
              <p className="actions">
                <VoteButtons
                  {...comment}
                  what={`the comment by ${name}`}
                  onVote={mayWrite && !comment.mine && comment.own_vote !== null ? vote : undefined}
                />
                {mayWrite && comment.depth < DEEPEST && (
                  <button
                    type="button"
                    className="link"
                    data-shortcut="reply"
                    onClick={() => setMode("reply")}
                    aria-label={`Reply to ${name}`}
                  >
                    Reply
                  </button>
                )}
                {mayWrite && comment.mine && (
                  <button
                    type="button"
                    className="link"
                    aria-label={`Edit the comment by ${name}`}
                    onClick={() => setMode("edit")}
                  >
                    Edit
                  </button>
                )}
                {mayWrite && (comment.mine || mayDeleteAny) && (
                  <button type="button" className="link" aria-label={`Delete the comment by ${name}`} onClick={remove}>
                    Delete
                  </button>
                )}
                {isMember && !comment.mine && (
                  <button
                    type="button"
                    className="link"
                    aria-label={`Mark as unread from here: the comment by ${name}`}
                    onClick={markUnread}
                  >
                    Mark as unread
                  </button>
                )}
              </p>
            )}
          </>
        )}
        {deleted && mode === "edit" && <LostDraft place={places.editComment(comment.id)} />}
        {failure && (
          <p role="alert" className="failure">
            {failure}
          </p>
        )}
        {replying && (
          <Composer
            place={places.reply(comment.id)}
            label={`Reply to ${name}`}
            action="Reply"
            focus
            onCancel={closeReply}
            onSend={(text, _, key) => {
              closeReply();
              return actions.reply(comment.id, text, key);
            }}
          />
        )}
      </article>
      <Replies comment={comment} actions={actions} {...shared} />
    </li>
  );
});

function Replies({ comment, ...shared }: CommentProps) {
  if (comment.replies.length === 0) return null;
  return (
    <ul className="replies">
      {comment.replies.map((reply) => (
        <Comment key={reply.key} comment={reply} {...shared} />
      ))}
    </ul>
  );
}

/** Stands for a comment that is among the earlier ones, above replies that are loaded. */
function NotLoaded(props: CommentProps) {
  const { author, depth } = props.comment;
  const Heading = headings[depth - 1] ?? "h6";
  return (
    <li className="comment">
      <Heading className="muted">
        {author ? `By ${author.username}, among the earlier comments` : "Deleted comment"}
      </Heading>
      <Replies {...props} />
    </li>
  );
}

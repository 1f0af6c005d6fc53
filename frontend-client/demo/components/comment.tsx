"use client";
import { explain } from "@scicommons/discussions-client";
import { isDiscarded } from "../lib/discarded";
import { places, type CommentItem, type UpdateOptions } from "@scicommons/discussions-client/react";
import { memo, useRef, useState } from "react";
import { Byline } from "./byline";
import { Composer } from "./composer";
import { Markdown } from "./markdown";
import { LostDraft } from "./lost-draft";
import { Unsent } from "./unsent";

export interface CommentActions {
  reply: (parentId: number, text: string, key: string | undefined) => unknown;
  update: (id: number, text: string, options: UpdateOptions) => Promise<unknown>;
  remove: (id: number) => Promise<unknown>;
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
  fresh: ReadonlySet<number>;
  /** The comment whose unsent reply was moved back into its field. */
  reopened: number | undefined;
}

const DEEPEST = 3;

/** Renders only when the comment or a reply below it changed. */
export const Comment = memo(function Comment({ comment, actions, ...shared }: CommentProps) {
  const { myName, mayWrite, mayDeleteAny, fresh, reopened } = shared;
  const [mode, setMode] = useState<"read" | "reply" | "edit">("read");
  const [failure, setFailure] = useState<string>();
  const replying = mode === "reply" || reopened === comment.id;
  const article = useRef<HTMLElement>(null);
  /** Returns the focus to the comment, because its field or button disappears. */
  const read = () => {
    setMode("read");
    article.current?.focus({ preventScroll: true });
  };
  const closeReply = () => {
    read();
    if (reopened === comment.id) actions.closeReply();
  };
  const deleted = comment.deleted_at !== null;
  const sent = comment.id > 0;
  const name = comment.author?.username || myName;
  const remove = () => {
    setFailure(undefined);
    article.current?.focus({ preventScroll: true });
    actions.remove(comment.id).catch((error) => {
      if (!isDiscarded(error)) setFailure(`It could not be deleted: ${explain(error)}`);
    });
  };
  return (
    <li className="comment" id={`comment-${comment.id}`} data-fresh={fresh.has(comment.id) || undefined}>
      <article
        ref={article}
        tabIndex={-1}
        aria-label={deleted ? "Deleted comment" : `Comment by ${name}`}
        data-pending={comment.pending || undefined}
      >
        {deleted ? (
          <p className="muted gone">
            This comment was deleted.{" "}
            {comment.undo && (
              <button
                type="button"
                className="link"
                onClick={() => {
                  actions.discard(comment.undo ?? "");
                  article.current?.focus({ preventScroll: true });
                }}
              >
                Undo
              </button>
            )}
          </p>
        ) : (
          <>
            <Byline
              {...comment}
              myName={myName}
              created={comment.created_at}
              edited={comment.edited_at}
              pending={comment.pending && !sent}
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
                onSent={read}
              />
            ) : (
              <Markdown text={comment.text ?? ""} />
            )}
            {comment.error !== undefined && (
              <Unsent
                pending={comment.pending}
                error={comment.error}
                onRetry={() => void actions.retry(comment.key).catch(() => undefined)}
                onEdit={() => actions.edit(comment.key, comment.parent_id)}
                onDiscard={() => actions.discard(comment.key)}
              />
            )}
            {mode === "read" && sent && mayWrite && (
              <p className="actions">
                {comment.depth < DEEPEST && (
                  <button
                    type="button"
                    className="link"
                    onClick={() => setMode("reply")}
                    aria-label={`Reply to ${name}`}
                  >
                    Reply
                  </button>
                )}
                {comment.mine && (
                  <button
                    type="button"
                    className="link"
                    aria-label={`Edit the comment by ${name}`}
                    onClick={() => setMode("edit")}
                  >
                    Edit
                  </button>
                )}
                {(comment.mine || mayDeleteAny) && (
                  <button type="button" className="link" aria-label={`Delete the comment by ${name}`} onClick={remove}>
                    Delete
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
      {comment.replies.length > 0 && (
        <ul className="replies">
          {comment.replies.map((reply) => (
            <Comment key={reply.key} comment={reply} actions={actions} {...shared} />
          ))}
        </ul>
      )}
    </li>
  );
}, unchanged);

function unchanged(before: CommentProps, after: CommentProps): boolean {
  const { fresh, reopened, ...rest } = after;
  const same = Object.entries(rest).every(([name, value]) => Object.is(before[name as keyof CommentProps], value));
  if (!same) return false;
  const ids = idsOf(after.comment);
  return ids.every((id) => before.fresh.has(id) === fresh.has(id) && (before.reopened === id) === (reopened === id));
}

const idsOf = (comment: CommentItem): number[] => [comment.id, ...comment.replies.flatMap(idsOf)];

"use client";
import type { CommentItem } from "@scicommons/discussions-client/react";
import { useState } from "react";
import { Byline } from "./byline";
import { Composer } from "./composer";
import { Markdown } from "./markdown";

export interface CommentActions {
  reply: (parentId: number, text: string) => unknown;
  update: (id: number, text: string) => Promise<unknown>;
  remove: (id: number) => Promise<unknown>;
  retry: (key: string) => Promise<unknown>;
  discard: (key: string) => void;
}

export interface CommentProps {
  comment: CommentItem;
  actions: CommentActions;
  myName: string;
  mayWrite: boolean;
  mayDeleteAny: boolean;
  fresh: ReadonlySet<number>;
}

const DEEPEST = 3;

export function Comment({ comment, actions, ...shared }: CommentProps) {
  const { myName, mayWrite, mayDeleteAny, fresh } = shared;
  const [mode, setMode] = useState<"read" | "reply" | "edit">("read");
  const [failure, setFailure] = useState<string>();
  const deleted = comment.deleted_at !== null;
  const sent = comment.id > 0;
  const name = comment.author?.username || myName;
  const remove = () => {
    setFailure(undefined);
    actions.remove(comment.id).catch(() => setFailure("It could not be deleted."));
  };
  return (
    <li className="comment" id={`comment-${comment.id}`} data-fresh={fresh.has(comment.id) || undefined}>
      <article
        aria-label={deleted ? "Deleted comment" : `Comment by ${name}`}
        data-pending={comment.pending || undefined}
      >
        {deleted ? (
          <p className="muted gone">This comment was deleted.</p>
        ) : (
          <>
            <Byline
              {...comment}
              myName={myName}
              created={comment.created_at}
              updated={comment.updated_at}
              pending={comment.pending && !sent}
            />
            {mode === "edit" ? (
              <Composer
                label="Edit your comment"
                action="Save"
                initialText={comment.text ?? ""}
                autoFocus
                wait
                onCancel={() => setMode("read")}
                onSend={async (text) => {
                  await actions.update(comment.id, text);
                  setMode("read");
                }}
              />
            ) : (
              <Markdown text={comment.text ?? ""} />
            )}
            {comment.error !== undefined && (
              <p role="alert" className="failure">
                Not sent.{" "}
                <button
                  type="button"
                  className="link"
                  onClick={() => void actions.retry(comment.key).catch(() => undefined)}
                >
                  Try again
                </button>{" "}
                <button type="button" className="link" onClick={() => actions.discard(comment.key)}>
                  Discard
                </button>
              </p>
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
                  <button type="button" className="link" onClick={() => setMode("edit")}>
                    Edit
                  </button>
                )}
                {(comment.mine || mayDeleteAny) && (
                  <button type="button" className="link" onClick={remove}>
                    Delete
                  </button>
                )}
              </p>
            )}
          </>
        )}
        {failure && (
          <p role="alert" className="failure">
            {failure}
          </p>
        )}
        {mode === "reply" && (
          <Composer
            label={`Reply to ${name}`}
            action="Reply"
            autoFocus
            onCancel={() => setMode("read")}
            onSend={(text) => {
              setMode("read");
              return actions.reply(comment.id, text);
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
}

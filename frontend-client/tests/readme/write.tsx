"use client";
import { explain } from "@scicommons/discussions-client";
import { places, useComments, useDraft } from "@scicommons/discussions-client/react";
import { Markdown } from "@scicommons/discussions-client/markdown";
import "katex/dist/katex.min.css";

export function Thread({ discussionId }: { discussionId: number }) {
  const { comments, create, retry, discard } = useComments(discussionId);
  const draft = useDraft(places.comment(discussionId));
  const send = () => {
    const { text, topic } = draft;
    // If the server refuses it, the item has an `error`.
    create({ text }, { key: draft.key() }).catch(() => undefined);
    draft.sent({ text, topic });
  };
  return (
    <>
      {comments.map((one) => (
        <article key={one.key}>
          <Markdown text={one.text ?? "*Deleted*"} />
          {one.error !== undefined && (
            <p role="alert">
              Not sent: {explain(one.error)}{" "}
              <button onClick={() => void retry(one.key).catch(() => undefined)}>Try again</button>
              <button onClick={() => discard(one.key)}>Discard</button>
            </p>
          )}
        </article>
      ))}
      <textarea aria-label="Write a comment" value={draft.text} onChange={(event) => draft.set(event.target.value)} />
      <button onClick={send}>Comment</button>
    </>
  );
}

"use client";
import { explain } from "@scicommons/discussions-client";
import { places, useComments, useDraft, useMutate } from "@scicommons/discussions-client/react";
import { Markdown } from "@scicommons/discussions-client/markdown";
import "katex/dist/katex.min.css";

export function Thread({ discussionId }: { discussionId: number }) {
  const { comments, isEmpty, error, refetch, ...actions } = useComments(discussionId);
  const draft = useDraft(places.comment(discussionId));
  const create = useMutate(actions.create);
  const retry = useMutate(actions.retry);
  const send = () => {
    const { text, topic } = draft;
    create.mutate({ text }, { key: draft.key() });
    draft.sent({ text, topic });
  };
  return (
    <>
      {error && (
        <p role="alert">
          The comments could not be loaded: {explain(error)} <button onClick={() => void refetch()}>Try again</button>
        </p>
      )}
      {isEmpty && <p>No comments yet.</p>}
      {comments.map((one) => (
        <article key={one.key}>
          <Markdown text={one.text ?? "*Deleted*"} />
          {one.error !== undefined && (
            <p role="alert">
              Not sent: {explain(one.error)} <button onClick={() => retry.mutate(one.key)}>Try again</button>
              <button onClick={() => actions.edit(one.key)}>Edit</button>
              <button onClick={() => actions.discard(one.key)}>Discard</button>
            </p>
          )}
        </article>
      ))}
      <textarea aria-label="Write a comment" value={draft.text} onChange={(event) => draft.set(event.target.value)} />
      <button onClick={send}>Comment</button>
    </>
  );
}

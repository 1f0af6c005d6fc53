"use client";
import { explain, type Author } from "@scicommons/discussions-client";
import {
  isMine,
  places,
  type SummaryItem,
  useDraft,
  useRealtimeEvents,
  useSummary,
} from "@scicommons/discussions-client/react";
import { useRef, useState } from "react";
import { announce } from "../lib/announce";
import type { DemoCommunity } from "../lib/demo-api";
import { isDiscarded } from "../lib/discarded";
import { ownName, type Signature } from "../lib/signs";
import { Audience } from "./audience";
import { Byline } from "./byline";
import { Composer } from "./composer";
import { LostDraft } from "./lost-draft";
import { Markdown } from "./markdown";
import { Failure, Notice } from "./notice";

/** How long a deletion can be undone. */
const UNDO_MS = 6_000;

export interface SummaryProps {
  articleId: number;
  community: DemoCommunity;
  /** Whether several communities are shown, so that each summary needs the name of its own. */
  named: boolean;
  signature: Signature;
}

/** What the admins of a community say of its discussions. Where there is no summary, only they see that one can be written. */
export function Summary({ articleId, community, named, signature }: SummaryProps) {
  const { summary, viewer, canEdit, undo, access, isPending, error, refetch, save, remove, discard } = useSummary(
    articleId,
    community.id,
  );
  const place = places.summary(articleId, community.id);
  const draft = useDraft(place, { text: summary?.text ?? "", ...(summary && { updated_at: summary.updated_at }) });
  const [editing, setEditing] = useState(false);
  const [failure, setFailure] = useState<string>();
  const title = useRef<HTMLHeadingElement>(null);
  /** The user has deleted it here, and its event has not come. */
  const deleting = useRef(false);
  useRealtimeEvents(
    (event) => {
      const isHere = event.community_id === community.id && event.deleted_at === undefined;
      // Where people write under pseudonyms the event does not say whose it is.
      const isShown = summary?.text.trim() === event.text;
      if (!isHere || isShown || isMine(event.author, viewer, community.id)) return;
      const isOwnDeletion = event.text === null && deleting.current;
      deleting.current = false;
      if (isOwnDeletion) return;
      announce(`The summary of ${community.name} was ${event.text === null ? "deleted" : "changed"}`);
    },
    { types: ["updated_summary"], articleId },
  );
  if (error && access.state === "granted")
    return (
      <Notice
        text={`The summary of ${community.name} could not be loaded: ${explain(error)}`}
        what="summary"
        onRetry={() => void refetch()}
      />
    );
  if (isPending) return null;
  // Somebody who is no admin any more still has what they wrote.
  if (summary === undefined || !canEdit) {
    if (!summary && !draft.isKept) return null;
  } else if (summary === null && named && !draft.isKept && undo === undefined) return null;
  /** Returns the focus to the box, because its field or button disappears. */
  const toTitle = () => title.current?.focus({ preventScroll: true });
  const close = () => {
    setEditing(false);
    toTitle();
  };
  const news = whatChanged(summary, draft);
  const erase = () => {
    setFailure(undefined);
    toTitle();
    announce("Summary deleted. It can be undone for some seconds.");
    deleting.current = true;
    remove({ undoMs: UNDO_MS }).catch((reason: unknown) => {
      deleting.current = false;
      if (!isDiscarded(reason)) setFailure(`The summary was not deleted: ${explain(reason)}`);
    });
  };
  const id = `summary-${community.id}`;
  return (
    <section className="summary" aria-labelledby={id}>
      <h2 id={id} ref={title} tabIndex={-1}>
        {named ? `Summary of ${community.name}` : "Summary"}
      </h2>
      {summary && (!editing || news) && (
        <>
          <Byline
            {...summary}
            author={writer(summary, signature)}
            myName={ownName(signature)}
            created={summary.updated_at}
            edited={null}
          />
          {/* A long one scrolls, so that the keyboard must be able to focus it. */}
          {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
          <div className="words" role="region" aria-label={`Text of the summary of ${community.name}`} tabIndex={0}>
            <Markdown text={summary.text} />
          </div>
          {summary.error !== undefined && (
            <p className="waiting">
              Not saved yet: {explain(summary.error)} It is sent by itself as soon as that is possible.
            </p>
          )}
        </>
      )}
      {undo !== undefined && (
        <p className="muted gone">
          The summary was deleted.{" "}
          <button
            type="button"
            className="link"
            aria-label="Undo the deletion of the summary"
            onClick={() => {
              discard(undo);
              toTitle();
              announce("The summary is back");
            }}
          >
            Undo
          </button>
        </p>
      )}
      {news && canEdit && <Failure text={news} />}
      {!canEdit ? (
        draft.isKept && <LostDraft place={place} />
      ) : editing ? (
        <Composer
          place={place}
          label="Text of the summary"
          action="Save"
          audience={<Audience community={community} signature={signature} byAdmins />}
          initialText={summary?.text ?? ""}
          {...(summary && { updatedAt: summary.updated_at })}
          single
          focus
          wait
          onCancel={close}
          // The page has said so if the summary is gone.
          onSend={(text, _topic, _key, from) => save(text, { from: summary ? (from ?? null) : null })}
          onSent={() => {
            close();
            announce("Summary saved");
          }}
        />
      ) : (
        undo === undefined && (
          <div className="actions">
            <button
              type="button"
              className="link"
              aria-label={summary ? `Edit the summary of ${community.name}` : undefined}
              onClick={() => setEditing(true)}
            >
              {summary ? "Edit" : "Write a summary"}
            </button>
            {draft.isKept && <span className="muted">draft kept</span>}
            {summary && (
              <button
                type="button"
                className="link"
                aria-label={`Delete the summary of ${community.name}`}
                onClick={erase}
              >
                Delete
              </button>
            )}
          </div>
        )
      )}
      {failure && <Failure text={failure} />}
    </section>
  );
}

/** Whom the page names: where people write under pseudonyms, the admins together. */
function writer({ author, pending }: SummaryItem, { kind }: Signature): Author {
  const isUnnamed = pending && (kind === "pseudonym" || kind === "new_pseudonym");
  return author && !isUnnamed ? author : { id: null, username: "Admins", avatar_url: null };
}

/** Says what became of the summary since the user began to write. Undefined if it is as it was, or as the user wants it. */
function whatChanged(
  summary: ReturnType<typeof useSummary>["summary"],
  { isKept, from, text }: Pick<ReturnType<typeof useDraft>, "isKept" | "from" | "text">,
): string | undefined {
  if (!isKept || summary === undefined || summary?.pending) return undefined;
  if (summary === null)
    return from && "The summary was deleted while you were writing. Your text is kept, and can be saved as a new one.";
  if (summary.updated_at === from?.updated_at || summary.text === text.trim()) return undefined;
  return "The summary was changed while you were writing. Your text is kept. Above is what it says now.";
}

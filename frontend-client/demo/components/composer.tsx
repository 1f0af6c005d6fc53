"use client";
import {
  countCharacters,
  explain,
  isApiError,
  isComposing,
  limits,
  type Comment,
  type Discussion,
  type Summary,
} from "@scicommons/discussions-client";
import { useDraft, useMention, type Version } from "@scicommons/discussions-client/react";
import { useEffect, useId, useRef, useState, type FormEvent, type KeyboardEvent, type ReactNode } from "react";
import { Conflict } from "./conflict";
import { usePlace } from "../lib/place";
import { Markdown } from "./markdown";
import { MentionList } from "./mention-list";
import { Failure } from "./notice";

export interface ComposerProps {
  /** The id of the text's field. */
  id?: string;
  /** The place of the draft (see `useDraft`). */
  place: string;
  label: string;
  action: string;
  /** Says who will read the text and under which name. */
  audience?: ReactNode;
  initialText?: string;
  initialTopic?: string;
  /** The version of the text to edit. */
  updatedAt?: string;
  withTopic?: boolean;
  /** Whether there is one text here. What is written on while it is sent for the first time is then a change of it, and no other text. */
  single?: boolean;
  /** Whether it takes the focus when it appears. */
  focus?: boolean;
  /** Called with the text, the draft's Idempotency-Key, and what the user began to edit. If it rejects, the text stays. */
  onSend: (text: string, topic: string, key: string | undefined, from: Version | undefined) => unknown;
  /** Called after sending if nothing was written meanwhile. */
  onSent?: () => void;
  onCancel?: () => void;
  /** Whether the text stays in the field until the answer comes. By default the field is emptied at once. */
  wait?: boolean;
}

/** A Markdown field with a preview. Ctrl+Enter or Cmd+Enter sends it. Escape closes it and keeps the draft. */
export function Composer(props: ComposerProps) {
  const {
    place,
    label,
    action,
    initialText = "",
    initialTopic = "",
    updatedAt,
    withTopic = false,
    single = false,
    focus = false,
    wait = false,
  } = props;
  const draft = useDraft(place, {
    text: initialText,
    topic: initialTopic,
    ...(updatedAt !== undefined && { updated_at: updatedAt }),
  });
  const { text, topic } = draft;
  const [busy, setBusy] = useState(false);
  const [preview, setPreview] = useState(false);
  const [error, setError] = useState<string>();
  /** What somebody else has made of the text meanwhile. */
  const [theirs, setTheirs] = useState<Comment | Discussion | Summary>();
  const textPlace = usePlace();
  const mention = useMention({
    communityId: textPlace?.communityId ?? 0,
    articleId: textPlace?.articleId,
    enabled: textPlace !== undefined,
  });
  const id = useId();
  const fieldId = props.id ?? `${id}-text`;
  const form = useRef<HTMLFormElement>(null);
  const first = useRef<HTMLInputElement & HTMLTextAreaElement>(null);
  useEffect(() => {
    if (focus) first.current?.focus();
  }, [focus]);
  const left = { text: limits.text - countCharacters(text), topic: limits.topic - countCharacters(topic) };
  const empty = left.text === limits.text || (withTopic && left.topic === limits.topic);
  const tooLong = left.text < 0 || (withTopic && left.topic < 0);
  const ready = !empty && !tooLong && !busy;

  const send = async (from = draft.from) => {
    if (!ready) return;
    setError(undefined);
    setTheirs(undefined);
    if (!draft.isKept) draft.set(text, topic);
    const sent = { text, topic };
    const sending = props.onSend(text, topic, draft.key(), from);
    if (!wait) {
      draft.sent(sent);
      // The button takes no focus while the field is empty.
      if (form.current?.contains(document.activeElement)) first.current?.focus();
      // The item itself shows that it was not sent.
      if (sending instanceof Promise) sending.catch(() => undefined);
      return;
    }
    setBusy(true);
    try {
      const saved = await sending;
      if (draft.sent(sent, from || single ? (saved as Version) : undefined)) props.onSent?.();
    } catch (reason) {
      if (isApiError(reason, "changed_meanwhile") && reason.current) setTheirs(reason.current);
      else setError(explain(reason));
    } finally {
      setBusy(false);
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // While an input method composes, these keys belong to it.
    if (isComposing(event)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !theirs) void send();
    if (event.key === "Escape" && props.onCancel) props.onCancel();
  };
  const onTextKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    mention.field.onKeyDown(event);
    if (!event.defaultPrevented) onKeyDown(event);
  };
  const discard = () => {
    draft.discard();
    props.onCancel?.();
  };
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (!theirs) void send();
  };
  const overwrite = (current: Version) => {
    draft.rebase(current);
    void send(current);
  };
  return (
    <form ref={form} className="composer" onSubmit={onSubmit} aria-busy={busy}>
      {withTopic && (
        <>
          <label htmlFor={`${id}-topic`}>Topic</label>
          <input
            id={`${id}-topic`}
            ref={first}
            dir="auto"
            value={topic}
            aria-describedby={`${id}-topic-count`}
            onChange={(event) => draft.set(text, event.target.value)}
            onKeyDown={onKeyDown}
          />
          <Count id={`${id}-topic-count`} left={left.topic} shownBelow={50} />
        </>
      )}
      <div className="label">
        <label htmlFor={fieldId}>{label}</label>
        {props.audience && (
          <span id={`${id}-audience`} className="hint">
            {props.audience}
          </span>
        )}
      </div>
      <div className="text">
        <textarea
          {...mention.field}
          id={fieldId}
          ref={withTopic ? undefined : first}
          dir="auto"
          value={text}
          rows={withTopic ? 7 : 3}
          aria-describedby={`${id}-audience ${id}-hint ${id}-count`}
          onChange={(event) => draft.set(event.target.value, topic)}
          onKeyDown={onTextKeyDown}
        />
        <MentionList mention={mention} />
      </div>
      <Count id={`${id}-count`} left={left.text} shownBelow={1_000} />
      {preview && (
        // A long one scrolls, so that the keyboard must be able to focus it.
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        <section className="preview" aria-label="Preview" tabIndex={0}>
          <Markdown text={text} />
        </section>
      )}
      <div className="row">
        <span id={`${id}-hint`} className="hint">
          Markdown
          <span className="by-key">
            {textPlace && (
              <>
                {" · "}
                <kbd>@</kbd> mentions
              </>
            )}
            {" · "}
            <kbd>Ctrl</kbd> <kbd>Enter</kbd> sends
          </span>
          {draft.isKept && " · draft kept"}
        </span>
        {draft.isKept && (
          <button type="button" className="link" onClick={discard}>
            Discard
          </button>
        )}
        <button
          type="button"
          className="link"
          aria-pressed={preview}
          disabled={empty}
          onClick={() => setPreview(!preview)}
        >
          Preview
        </button>
        {props.onCancel && (
          <button type="button" className="quiet" onClick={props.onCancel}>
            {draft.isKept ? "Close" : "Cancel"}
          </button>
        )}
        {!theirs && (
          <button type="submit" className="primary" disabled={!ready}>
            {busy ? "Sending…" : action}
          </button>
        )}
      </div>
      {theirs && <Conflict current={theirs} disabled={!ready} onOverwrite={() => overwrite(theirs)} onTake={discard} />}
      {error && <Failure text={`Not sent: ${error} Your text is still here.`} />}
    </form>
  );
}

function Count({ id, left, shownBelow }: { id: string; left: number; shownBelow: number }) {
  if (left >= shownBelow) return <span id={id} hidden />;
  return (
    <span id={id} className={left < 0 ? "failure" : "hint"}>
      {left < 0 ? `${-left} characters too many` : `${left} characters left`}
    </span>
  );
}

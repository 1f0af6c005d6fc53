"use client";
import { isApiError } from "@scicommons/discussions-client";
import { useEffect, useId, useRef, useState, type FormEvent, type KeyboardEvent } from "react";

export interface ComposerProps {
  label: string;
  action: string;
  initialText?: string;
  initialTopic?: string;
  withTopic?: boolean;
  autoFocus?: boolean;
  /** Rejects: the words stay. */
  onSend: (text: string, topic: string) => unknown;
  onCancel?: () => void;
  /** Waits for the answer before it closes; without it the words leave at once. */
  wait?: boolean;
}

/** A Markdown field. Ctrl+Enter or Cmd+Enter sends, Escape cancels. */
export function Composer(props: ComposerProps) {
  const {
    label,
    action,
    initialText = "",
    initialTopic = "",
    withTopic = false,
    autoFocus = false,
    wait = false,
  } = props;
  const [text, setText] = useState(initialText);
  const [topic, setTopic] = useState(initialTopic);
  const [error, setError] = useState<string>();
  const id = useId();
  const first = useRef<HTMLInputElement & HTMLTextAreaElement>(null);
  useEffect(() => {
    if (autoFocus) first.current?.focus();
  }, [autoFocus]);
  const ready = text.trim() !== "" && (!withTopic || topic.trim() !== "");

  const send = async (event?: FormEvent) => {
    event?.preventDefault();
    if (!ready) return;
    setError(undefined);
    const sent = props.onSend(text, topic);
    if (!wait) {
      setText("");
      setTopic("");
      // The item itself says when it was not sent.
      if (sent instanceof Promise) sent.catch(() => undefined);
      return;
    }
    try {
      await sent;
    } catch (reason) {
      setError(isApiError(reason) ? reason.message : "The server cannot be reached. Your text is still here.");
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void send();
    if (event.key === "Escape" && props.onCancel) props.onCancel();
  };
  return (
    <form className="composer" onSubmit={send} onKeyDown={onKeyDown}>
      {withTopic && (
        <>
          <label htmlFor={`${id}-topic`}>Topic</label>
          <input
            id={`${id}-topic`}
            ref={first}
            value={topic}
            maxLength={200}
            onChange={(event) => setTopic(event.target.value)}
          />
        </>
      )}
      <label htmlFor={`${id}-text`}>{label}</label>
      <textarea
        id={`${id}-text`}
        ref={withTopic ? undefined : first}
        value={text}
        rows={withTopic ? 7 : 3}
        aria-describedby={`${id}-hint`}
        onChange={(event) => setText(event.target.value)}
      />
      <div className="row">
        <span id={`${id}-hint`} className="hint">
          Markdown · <kbd>Ctrl</kbd> <kbd>Enter</kbd> sends
        </span>
        {props.onCancel && (
          <button type="button" className="quiet" onClick={props.onCancel}>
            Cancel
          </button>
        )}
        <button type="submit" className="primary" disabled={!ready}>
          {action}
        </button>
      </div>
      {error && (
        <p role="alert" className="failure">
          {error}
        </p>
      )}
    </form>
  );
}

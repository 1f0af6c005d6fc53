"use client";
import type { Comment, Discussion, Summary } from "@scicommons/discussions-client";
import { useEffect, useId } from "react";
import { announce } from "../lib/announce";

export interface ConflictProps {
  /** What somebody else has made of the text that the user edits. */
  current: Comment | Discussion | Summary;
  /** Whether the user's own text cannot be saved, as it is empty or too long. */
  disabled: boolean;
  onOverwrite: () => void;
  onTake: () => void;
}

const told = "This was changed while you were writing. Your text above is not saved yet.";

/** Shows the text as it is now, below the user's own, and lets the user choose. Both can be selected and copied. */
export function Conflict({ current, disabled, onOverwrite, onTake }: ConflictProps) {
  const id = useId();
  useEffect(() => announce(told), []);
  return (
    <section className="conflict" aria-labelledby={`${id}-title`}>
      <p id={`${id}-title`} className="failure">
        {told}
      </p>
      {"topic" in current && (
        <>
          <label htmlFor={`${id}-topic`}>The topic as it is now</label>
          <input id={`${id}-topic`} readOnly dir="auto" value={current.topic ?? ""} />
        </>
      )}
      <label htmlFor={`${id}-text`}>The text as it is now</label>
      <textarea id={`${id}-text`} readOnly dir="auto" rows={3} value={current.text ?? ""} />
      <div className="row">
        <button type="button" className="quiet" onClick={onTake}>
          Discard mine
        </button>
        <button type="button" className="primary" disabled={disabled} onClick={onOverwrite}>
          Save mine instead
        </button>
      </div>
    </section>
  );
}

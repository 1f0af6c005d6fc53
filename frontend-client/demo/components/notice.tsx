"use client";
import { useEffect, type ReactNode } from "react";
import { announce } from "../lib/announce";

/** Says that something did not work, on the page and once in its live region. */
export function Failure({ text }: { text: string }) {
  useEffect(() => announce(text), [text]);
  return <p className="failure">{text}</p>;
}

export interface NoticeProps {
  text: string;
  /** More about it, which is not announced. */
  children?: ReactNode;
  onRetry?: () => void;
  /** What is tried again, for the button's name. */
  what?: string;
}

/** Says why something is not shown, and offers to try again. */
export function Notice({ text, children, onRetry, what }: NoticeProps) {
  useEffect(() => announce(text), [text]);
  return (
    <div className="notice">
      <strong>{text}</strong>
      {children}
      {onRetry && (
        <button
          type="button"
          className="link"
          aria-label={what && `Try again to load the ${what}`}
          onClick={() => onRetry()}
        >
          Try again
        </button>
      )}
    </div>
  );
}

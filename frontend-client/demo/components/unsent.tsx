"use client";
import { explain } from "@scicommons/discussions-client";
import { useEffect } from "react";
import { announce } from "../lib/announce";

export interface UnsentProps {
  /** What is not sent, such as "comment". */
  what: string;
  /** Whether the item will be sent by itself later. */
  pending: boolean;
  error: unknown;
  onRetry: () => void;
  onEdit?: () => void;
  onDiscard: () => void;
}

/** Says why an item is not sent and offers what the user can do. */
export function Unsent({ what, pending, error, onRetry, onEdit, onDiscard }: UnsentProps) {
  const reason = `${pending ? "Not sent yet" : "Not sent"}: ${explain(error)}`;
  useEffect(() => announce(reason), [reason]);
  return (
    <p className={pending ? "waiting" : "failure"}>
      {reason} {pending && "It is sent by itself as soon as that is possible. "}
      <button type="button" className="link" aria-label={`Try again to send the ${what}`} onClick={onRetry}>
        Try again
      </button>{" "}
      {onEdit && (
        <button type="button" className="link" aria-label={`Edit the unsent ${what}`} onClick={onEdit}>
          Edit
        </button>
      )}{" "}
      <button type="button" className="link" aria-label={`Discard the unsent ${what}`} onClick={onDiscard}>
        Discard
      </button>
    </p>
  );
}

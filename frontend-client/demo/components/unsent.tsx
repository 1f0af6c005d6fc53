"use client";
import { explain } from "@scicommons/discussions-client";

export interface UnsentProps {
  /** Whether the item will be sent by itself later. */
  pending: boolean;
  error: unknown;
  onRetry: () => void;
  onEdit?: () => void;
  onDiscard: () => void;
}

/** Says why an item is not sent and offers what the user can do. */
export function Unsent({ pending, error, onRetry, onEdit, onDiscard }: UnsentProps) {
  return (
    <p role={pending ? "status" : "alert"} className={pending ? "waiting" : "failure"}>
      {pending ? "Not sent yet" : "Not sent"}: {explain(error)}{" "}
      {pending && "It is sent by itself as soon as that is possible. "}
      <button type="button" className="link" onClick={onRetry}>
        Try again
      </button>{" "}
      {onEdit && (
        <button type="button" className="link" onClick={onEdit}>
          Edit
        </button>
      )}{" "}
      <button type="button" className="link" onClick={onDiscard}>
        Discard
      </button>
    </p>
  );
}

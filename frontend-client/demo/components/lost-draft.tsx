"use client";
import { useDraft } from "@scicommons/discussions-client/react";

/** Shows a draft whose place no longer exists, so that the user can copy it. */
export function LostDraft({ place }: { place: string }) {
  const draft = useDraft(place);
  if (draft.text === "") return null;
  return (
    <div className="composer">
      <label>
        What you were writing
        <textarea readOnly rows={3} value={draft.text} />
      </label>
      <p className="row">
        <button type="button" className="link" onClick={draft.discard}>
          Discard
        </button>
      </p>
    </div>
  );
}

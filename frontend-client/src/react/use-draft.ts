"use client";
import { useCallback, useMemo, useSyncExternalStore } from "react";
import { useLiveConnection } from "./provider.js";

const empty = { text: "", topic: "" };

/**
 * The user's draft at a place. It survives reloads and all tabs share it, until it is sent or discarded. `places` names the
 * usual places. `initial` is the text before the user writes anything, such as the text to edit.
 */
export function useDraft(place: string, initial: { text: string; topic?: string } = empty) {
  const { drafts } = useLiveConnection();
  const get = useCallback(() => drafts.get(place), [drafts, place]);
  const draft = useSyncExternalStore(drafts.subscribe, get, () => undefined);
  const before = { topic: "", ...initial };
  const words = draft ?? before;
  const actions = useMemo(
    () => ({
      set: (text: string, topic = "") => drafts.set(place, { text, topic }),
      discard: () => drafts.discard(place),
      /** The draft's Idempotency-Key. */
      key: () => drafts.get(place)?.key,
      /** Call it after sending. Deletes the draft and returns true, unless the user has changed it since: then it stays. */
      sent: (sent: { text: string; topic: string }) => {
        const now = drafts.get(place);
        drafts.discard(place);
        if (!now || (now.text === sent.text && now.topic === sent.topic)) return true;
        drafts.set(place, now);
        return false;
      },
    }),
    [drafts, place],
  );
  const isKept = draft !== undefined && (draft.text !== before.text || draft.topic !== before.topic);
  return { text: words.text, topic: words.topic, isKept, ...actions };
}

"use client";
import { useCallback, useMemo, useSyncExternalStore } from "react";
import { useLiveConnection } from "./provider.js";

const empty = { text: "", topic: "" };

/**
 * What the user writes at a place: kept for each user and place, over reloads and in all tabs, until it is sent or discarded.
 * `places` has names for the usual ones. `initial` is what stands there before anything is written, such as the text to edit.
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
      /** The Idempotency-Key of what is written now. */
      key: () => drafts.get(place)?.key,
      /** It was sent as it was then: forgets it, but keeps what was written since. False: there is something left. */
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

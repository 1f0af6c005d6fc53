"use client";
import { useCallback, useMemo, useSyncExternalStore } from "react";
import type { Version } from "../core/cache/pending.js";
import { useLiveConnection } from "./provider.js";

const empty = { text: "", topic: "" };

/**
 * The user's draft at a place. It survives reloads and all tabs share it, until it is sent or discarded. `places` names the
 * usual places. `initial` is the text before the user writes anything. For the text of an item, pass its `updated_at` too: then
 * the draft remembers in `from` what the user began to edit.
 */
export function useDraft(place: string, initial: { text: string; topic?: string; updated_at?: string } = empty) {
  const { drafts } = useLiveConnection();
  const get = useCallback(() => drafts.get(place), [drafts, place]);
  const draft = useSyncExternalStore(drafts.subscribe, get, () => undefined);
  const { text: textBefore, topic: topicBefore = "", updated_at } = initial;
  const before = useMemo<Version | undefined>(
    () => (updated_at === undefined ? undefined : { text: textBefore, topic: topicBefore, updated_at }),
    [textBefore, topicBefore, updated_at],
  );
  const actions = useMemo(
    () => ({
      set: (text: string, topic = "") => drafts.set(place, { text, topic }, before),
      discard: () => drafts.discard(place),
      /** The draft's Idempotency-Key. */
      key: () => drafts.get(place)?.key,
      /** Bases the draft on another version, which the user has seen: sending it overwrites that one. */
      rebase: (version: Version) => drafts.rebase(place, version),
      /**
       * Call it after sending. Deletes the draft and returns true, unless the user has changed it since: then it stays, and is
       * from now on a change of `saved`.
       */
      sent: (sent: { text: string; topic: string }, saved?: Version) => {
        const now = drafts.get(place);
        drafts.discard(place);
        if (!now || (now.text === sent.text && now.topic === sent.topic)) return true;
        drafts.set(place, now, saved ?? now.from);
        return false;
      },
    }),
    [drafts, place, before],
  );
  const { text, topic } = draft ?? { text: textBefore, topic: topicBefore };
  const isKept = draft !== undefined && (text !== textBefore || topic !== topicBefore);
  return { text, topic, isKept, from: draft ? draft.from : before, ...actions };
}

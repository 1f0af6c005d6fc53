"use client";
import { useQuery } from "@tanstack/react-query";
import {
  useEffect,
  useId,
  useMemo,
  useRef,
  useState,
  type KeyboardEvent,
  type MouseEvent,
  type SyntheticEvent,
} from "react";
import { knownMembers } from "../core/cache/members.js";
import { membersQuery } from "../core/cache/queries.js";
import { mentionAt, type MentionAt } from "../core/mentions.js";
import { isComposing } from "../core/text.js";
import { useLiveConnection } from "./provider.js";

export interface UseMentionOptions {
  communityId: number;
  /** The article that is written on. On a pseudonymous one only pseudonyms are offered. */
  articleId?: number | undefined;
  enabled?: boolean;
  /** The list's name for a screen reader. */
  label?: string;
}

/** Who writes fast is asked for once. */
const DEBOUNCE_MS = 150;

type Field = HTMLTextAreaElement | HTMLInputElement;

/**
 * Completes mentions in a field: after `@` it offers the members whose handle begins with what follows. Spread `field` on a
 * `textarea`, `list` on the element of the list, and `option(index)` on that of each candidate. Up and Down choose, Enter and Tab
 * insert, Escape closes. A key that was used has its default prevented.
 */
export function useMention({ communityId, articleId, enabled = true, label = "People to mention" }: UseMentionOptions) {
  const { config, queryClient, timers, user } = useLiveConnection();
  const id = useId();
  const field = useRef<Field | null>(null);
  const [at, setAt] = useState<MentionAt>();
  /** Where the user closed the list. */
  const [closedAt, setClosedAt] = useState<number>();
  const [chosen, setChosen] = useState({ query: "", index: 0 });
  const [asked, setAsked] = useState<string>();
  const isOn = enabled && user !== null && at !== undefined && at.start !== closedAt;
  const query = isOn ? at.query : undefined;
  const scope = { communityId, articleId };
  const known = query === undefined ? undefined : knownMembers(queryClient, user, scope, query);
  const isAsking = query !== undefined && !known?.isComplete;
  useEffect(() => {
    if (!isAsking) return;
    const timer = timers.set(() => setAsked(query), DEBOUNCE_MS);
    return () => timers.clear(timer);
  }, [isAsking, query, timers]);
  // The answers come through the cache, so one that is late shows nothing old.
  const { isFetching, error } = useQuery({
    ...membersQuery(scope, asked ?? "", { config, user }),
    enabled: isAsking && asked === query,
  });
  // Nobody mentions themselves.
  const candidates = known?.members.filter(({ author }) => author.id !== user) ?? [];
  const isOpen = candidates.length > 0;
  const last = candidates.length - 1;
  const active = chosen.query === query ? Math.min(chosen.index, last) : 0;

  const look = (event: SyntheticEvent<Field>) => {
    const { currentTarget } = event;
    field.current = currentTarget;
    const { selectionStart, selectionEnd, value } = currentTarget;
    const next =
      selectionStart === null || selectionStart !== selectionEnd ? undefined : mentionAt(value, selectionStart);
    if (next?.start === at?.start && next?.query === at?.query) return;
    setAt(next);
    if (next?.start !== closedAt) setClosedAt(undefined);
  };
  const close = () => setClosedAt(at?.start);
  const pick = (index: number) => {
    const picked = candidates[index];
    if (!picked || !field.current || !at) return;
    const caret = at.start + 1 + at.query.length;
    const isSpaced = /^\s/.test(field.current.value.slice(caret));
    replace(field.current, at.start, caret, `@${picked.handle}${isSpaced ? "" : " "}`);
    setAt(undefined);
  };
  const onKeyDown = (event: KeyboardEvent<Field>) => {
    if (!isOpen || isComposing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined)
      setChosen({ query: query ?? "", index: (active + step + candidates.length) % candidates.length });
    else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey) pick(active);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  };
  const listId = `${id}-mentions`;
  const optionId = (index: number) => `${listId}-${index}`;
  const count = candidates.length === 1 ? "1 person" : `${candidates.length} people`;
  const status = useMemo(
    () => (isOpen ? `${count} to mention. Up and Down choose, Enter inserts, Escape closes.` : ""),
    [isOpen, count],
  );
  return {
    /** Properties of the field. HTML allows no other role for a `textarea`, so it is a text box that controls the list. */
    field: {
      onKeyDown,
      onSelect: look,
      onInput: look,
      onBlur: () => setAt(undefined),
      "aria-autocomplete": "list" as const,
      "aria-haspopup": "listbox" as const,
      "aria-controls": isOpen ? listId : undefined,
      "aria-activedescendant": isOpen ? optionId(active) : undefined,
    },
    /** Properties of the element of the list. Render it while `isOpen`. */
    list: { id: listId, role: "listbox" as const, "aria-label": label },
    /** Properties of the element of a candidate. */
    option: (index: number) => ({
      id: optionId(index),
      role: "option" as const,
      "aria-selected": index === active,
      // The field keeps the focus.
      onMouseDown: (event: MouseEvent) => event.preventDefault(),
      onClick: () => pick(index),
    }),
    candidates,
    isOpen,
    /** The index of the candidate that Enter inserts. */
    active,
    /** What is written after the `@`; undefined if no mention is being written. */
    query,
    isPending: isAsking && isFetching,
    error,
    /** For a live region: how many there are, and which keys there are. */
    status,
    close,
  };
}

/** Replaces a part of the field as if it was typed, so that it can be undone, and React hears of it. */
function replace(field: Field, start: number, end: number, text: string): void {
  field.focus();
  field.setSelectionRange(start, end);
  if (typeof document.execCommand === "function" && document.execCommand("insertText", false, text)) return;
  const { value } = field;
  const prototype = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
  // React tracks the element's own setter.
  Object.getOwnPropertyDescriptor(prototype, "value")?.set?.call(
    field,
    value.slice(0, start) + text + value.slice(end),
  );
  field.setSelectionRange(start + text.length, start + text.length);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

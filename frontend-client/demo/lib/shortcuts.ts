import { useEffect, useSyncExternalStore } from "react";

/** Keys that work outside fields. Whoever dictates or presses keys by accident can switch them off. */
export const shortcuts = [
  { key: "j", does: "the next comment, or the next discussion of the list" },
  { key: "k", does: "the previous one" },
  { key: "r", does: "reply to the comment, or write one" },
  { key: "?", does: "these shortcuts" },
] as const;

const STORED = "demo:shortcuts";
const listeners = new Set<() => void>();
let on: boolean | undefined;

function areOn(): boolean {
  try {
    return (on ??= window.localStorage.getItem(STORED) !== "off");
  } catch {
    return (on ??= true);
  }
}

export function switchShortcuts(next: boolean): void {
  on = next;
  try {
    window.localStorage.setItem(STORED, next ? "on" : "off");
  } catch {
    // Blocked storage: it lasts until the reload.
  }
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export const useShortcutsOn = () => useSyncExternalStore(subscribe, areOn, () => true);

/** Moves the focus to the next (1) or previous (-1) comment, or to a discussion of the list if none is open. */
function step(by: 1 | -1): void {
  const comments = [...document.querySelectorAll<HTMLElement>(".comment > article")];
  const items = comments.length > 0 ? comments : [...document.querySelectorAll<HTMLElement>("a.card")];
  const current = document.activeElement;
  const at = items.findIndex((item) => item === current || item.contains(current));
  const next = items[at < 0 ? (by > 0 ? 0 : items.length - 1) : at + by];
  next?.scrollIntoView({ block: "nearest", behavior: "instant" });
  next?.focus({ preventScroll: true });
}

function reply(): void {
  const comment = document.activeElement?.closest(".comment > article");
  const button = comment?.querySelector<HTMLElement>("[data-shortcut=reply]");
  if (button) button.click();
  else document.getElementById("write")?.focus();
}

/** Whether the key belongs to a field, a menu or an open dialog. */
function isTaken(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable], dialog") !== null;
}

export function useShortcuts(help: () => void): void {
  const active = useShortcutsOn();
  useEffect(() => {
    if (!active) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isTaken(event.target)) return;
      const action = { j: () => step(1), k: () => step(-1), r: reply, "?": help }[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [active, help]);
}

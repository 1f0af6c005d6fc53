import { useEffect, useLayoutEffect, useRef, useSyncExternalStore } from "react";
import { commentThatIsRead } from "./use-hold";

/**
 * Remembers how far the page was scrolled at each entry of the history, so that Back and a reload return to the same place. The
 * browser cannot do it, because it restores the place before the lists are there.
 */
const STORED = "demo:places";

/** A place: how far the page is scrolled, and which comment is how far from the top of the window. */
export interface Place {
  y: number;
  comment?: { id: string; top: number };
}

let places: Record<string, Place> = {};
/** Counts the visits of entries. */
let visit = 0;
/** The last visit whose place was taken. Until then the page is not where the reader left it, so nothing is recorded. */
let settled = -1;
/** Where the reader was when they left this entry; undefined at a new one. */
let target: Place | undefined;
const listeners = new Set<() => void>();

function entry(): string {
  const state = window.history.state as { entry?: string } | null;
  if (state?.entry) return state.entry;
  const name = `${Date.now().toString(36)}-${visit}`;
  window.history.replaceState({ ...state, entry: name }, "");
  return name;
}

/** What a reload keeps. The framework forgets the name of the entry then, so it is kept with its address. */
interface Kept {
  places: Record<string, Place>;
  address: string;
  entry: string;
}

function restore(): void {
  try {
    const kept = JSON.parse(window.sessionStorage.getItem(STORED) ?? "null") as Kept | null;
    if (!kept) return;
    places = kept.places;
    const [load] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
    if (load?.type !== "navigate" && kept.address === window.location.href)
      window.history.replaceState({ ...window.history.state, entry: kept.entry }, "");
  } catch {
    // Blocked storage: places last until the reload.
  }
}

function keep(): void {
  leaving();
  try {
    const kept: Kept = { places, address: window.location.href, entry: entry() };
    window.sessionStorage.setItem(STORED, JSON.stringify(kept));
  } catch {
    // As above.
  }
}

/** Records the place. Call it before the entry changes. */
export function leaving(): void {
  if (settled === visit) places[entry()] = placeNow();
}

function placeNow(): Place {
  const seen = commentThatIsRead();
  const y = window.scrollY;
  return seen ? { y, comment: { id: seen.id, top: seen.getBoundingClientRect().top } } : { y };
}

/** Scrolls to the place. Returns whether that was possible: its comment may be on a page that is not loaded yet. */
export function takePlace({ y, comment }: Place): boolean {
  const found = comment && document.getElementById(comment.id);
  const moved = found ? found.getBoundingClientRect().top - comment.top : y - window.scrollY;
  window.scrollBy({ top: moved, behavior: "instant" });
  return comment === undefined || found !== null;
}

/** Begins a visit. Call it after the entry has changed. */
export function entered(): void {
  visit += 1;
  target = places[entry()];
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Follows the page's history. Use it once, at the top. */
export function useVisits(): void {
  useEffect(() => {
    window.history.scrollRestoration = "manual";
    restore();
    window.addEventListener("scroll", leaving, { passive: true });
    window.addEventListener("popstate", entered);
    window.addEventListener("pagehide", keep);
    entered();
    return () => {
      window.removeEventListener("scroll", leaving);
      window.removeEventListener("popstate", entered);
      window.removeEventListener("pagehide", keep);
    };
  }, []);
}

/**
 * Takes the reader's place once for each visit, as soon as the content is there: where they left this entry, else where `arrive`
 * scrolls to. It gets the place to which the reader returns, and whether that was possible.
 */
export function useArrival(ready: boolean, arrive: (place?: Place, taken?: boolean) => void): void {
  const current = useSyncExternalStore(
    subscribe,
    () => visit,
    () => 0,
  );
  const latest = useRef(arrive);
  useLayoutEffect(() => {
    latest.current = arrive;
  });
  useLayoutEffect(() => {
    if (!ready || current === 0 || settled === current) return;
    settled = current;
    latest.current(target, target && takePlace(target));
  }, [ready, current]);
}

import { useLayoutEffect, useRef } from "react";

/**
 * Holds the field in which the user writes at its place on the screen when comments arrive above it. Most browsers hold what the
 * reader looks at by themselves (scroll anchoring), but that may be above the field. In a browser that does not, this holds the
 * comment that is read. The field of the dock is at the edge of the window and needs no help.
 */
export function useHold(): void {
  const held = useRef<{ element: Element; top: number }>(undefined);
  useLayoutEffect(() => {
    const anchors = CSS.supports("overflow-anchor", "none");
    // The place in the document: scrolling does not change it, and what is inserted above does.
    const place = (element: Element) => element.getBoundingClientRect().top + window.scrollY;
    const hold = () => {
      if (!held.current?.element.isConnected) return;
      const { element, top } = held.current;
      const moved = place(element) - top;
      if (moved === 0) return;
      const before = window.scrollY;
      window.scrollBy({ top: moved, behavior: "instant" });
      // What rounding has left is made up for the next time.
      held.current = { element, top: top + window.scrollY - before };
    };
    const note = () => {
      // A comment may have arrived since the last frame: what was held goes back to its place first.
      hold();
      const field = document.activeElement?.closest("form.composer:not(.dock *)");
      const element = field ?? (anchors ? undefined : commentThatIsRead());
      if (element !== held.current?.element) held.current = element && { element, top: place(element) };
      // Only one of the two may correct the place.
      document.documentElement.style.overflowAnchor = field ? "none" : "";
    };
    const observer = new ResizeObserver(() => {
      if (held.current?.element.isConnected) hold();
      else note();
    });
    observer.observe(document.body);
    // In a short thread the page stays as tall as the window.
    const list = document.querySelector(".comments");
    if (list) observer.observe(list);
    document.addEventListener("focusin", note);
    document.addEventListener("focusout", note);
    if (!anchors) window.addEventListener("scroll", note, { passive: true });
    return () => {
      observer.disconnect();
      document.removeEventListener("focusin", note);
      document.removeEventListener("focusout", note);
      window.removeEventListener("scroll", note);
      document.documentElement.style.overflowAnchor = "";
    };
  }, []);
}

/** The comment in the upper third of the window. */
export function commentThatIsRead(): Element | undefined {
  const detail = document.querySelector(".detail")?.getBoundingClientRect();
  const at = detail && document.elementFromPoint(detail.left + 30, window.innerHeight / 3);
  return at?.closest(".comment") ?? undefined;
}

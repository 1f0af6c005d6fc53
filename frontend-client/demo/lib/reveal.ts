/** Scrolls to an element and gives it the focus. It is marked until something else is. */
export function reveal(element: HTMLElement): void {
  for (const other of document.querySelectorAll("[data-target]")) other.removeAttribute("data-target");
  element.setAttribute("data-target", "");
  const own = element.querySelector<HTMLElement>("article") ?? element;
  const { height, top } = own.getBoundingClientRect();
  const view = window.innerHeight;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches || Math.abs(top) > 2 * view;
  // The middle of something tall would hide its beginning.
  own.scrollIntoView({ block: height > view / 2 ? "start" : "center", behavior: still ? "instant" : "smooth" });
  own.focus({ preventScroll: true });
}

/** Scrolls to the element if it is not on the screen. */
export function bringIntoView(element: HTMLElement): void {
  const { top, bottom } = element.getBoundingClientRect();
  const bar = document.querySelector(".bars")?.getBoundingClientRect().bottom ?? 0;
  if (top < Math.max(0, bar) || bottom > window.innerHeight)
    element.scrollIntoView({ block: "start", behavior: "instant" });
}

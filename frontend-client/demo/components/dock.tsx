"use client";
import { useLayoutEffect, useRef, type ReactNode } from "react";
import { useValue, type Value } from "../lib/value";

export interface DockProps {
  /** The comments that have arrived and that the reader has not gone to. */
  unseen: Value<ReadonlySet<number>>;
  onShow: () => void;
  children: ReactNode;
}

/**
 * The place to write, at the lower edge of the window. So it holds still whatever arrives above it, and the comments on the
 * screen do not move either.
 */
export function Dock({ unseen, onShow, children }: DockProps) {
  const count = useValue(unseen, (ids) => ids.size);
  const dock = useRef<HTMLDivElement>(null);
  // What is scrolled to must not be under the dock, which grows with the text.
  useLayoutEffect(() => {
    const { style } = document.documentElement;
    const observer = new ResizeObserver(() => style.setProperty("--dock", `${dock.current?.offsetHeight ?? 0}px`));
    if (dock.current) observer.observe(dock.current);
    return () => {
      observer.disconnect();
      style.removeProperty("--dock");
    };
  }, []);
  return (
    <div ref={dock} className="dock">
      {count > 0 && (
        <button
          type="button"
          className="pill"
          aria-label={`${count} new: go to the first new comment`}
          onClick={onShow}
        >
          {count} new
        </button>
      )}
      {children}
    </div>
  );
}

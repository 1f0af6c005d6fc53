import { useMemo, useSyncExternalStore, type MouseEvent } from "react";
import { entered, leaving } from "./visits";

/** What the page shows. It is part of the address, so that one can link to it and open it as another user side by side. */
export interface View {
  user: number | undefined;
  article: number | undefined;
  community: number | undefined;
  discussion: number | "new" | undefined;
  /** The community of the new discussion. */
  into: number | undefined;
  /** The comment of a link (`#comment-5`). */
  comment: number | undefined;
}

export interface Navigation {
  view: View;
  /** Goes to another view. With `replace` Back leads to where Back led before. */
  go: (change: Partial<View>, options?: { replace?: boolean }) => void;
  /** A link's properties for a view. A plain click changes the view; other clicks open a tab or a menu, as with every link. */
  link: (change: Partial<View>) => { href: string; onClick: (event: MouseEvent) => void };
}

const changed = "demo:view";

function subscribe(listener: () => void) {
  const names = ["popstate", "hashchange", changed];
  names.forEach((name) => window.addEventListener(name, listener));
  return () => names.forEach((name) => window.removeEventListener(name, listener));
}

const address = () => window.location.search + window.location.hash;

export function useView(): Navigation {
  const now = useSyncExternalStore(subscribe, address, () => "");
  return useMemo(() => {
    const href = (change: Partial<View>) => addressOf(now, change);
    const go: Navigation["go"] = (change, { replace = false } = {}) => {
      const next = addressOf(address(), change);
      if (replace) window.history.replaceState(window.history.state, "", next);
      else {
        leaving();
        window.history.pushState(null, "", next);
        entered();
      }
      window.dispatchEvent(new Event(changed));
    };
    const link: Navigation["link"] = (change) => ({
      href: href(change),
      onClick: (event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(change);
      },
    });
    return { view: viewOf(now), go, link };
  }, [now]);
}

/** The view of an address such as `?user=1&discussion=2#comment-5`. */
export function viewOf(at: string): View {
  const [search = "", hash = ""] = at.split("#");
  const parameters = new URLSearchParams(search);
  const number = (name: string) => Number(parameters.get(name)) || undefined;
  return {
    user: number("user"),
    article: number("article"),
    community: number("community"),
    discussion: parameters.get("discussion") === "new" ? "new" : number("discussion"),
    into: number("into"),
    comment: Number(/^comment-(\d+)$/.exec(hash)?.[1]) || undefined,
  };
}

/** The address of the view `change` seen from `at`. A comment is of one view, and so is the community of a new discussion. */
export function addressOf(at: string, { comment, ...change }: Partial<View>): string {
  const next = new URLSearchParams(at.split("#")[0]);
  next.delete("into");
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined) next.delete(name);
    else next.set(name, String(value));
  }
  return `?${next}${comment === undefined ? "" : `#comment-${comment}`}`;
}

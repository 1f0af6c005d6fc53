import { useCallback, useSyncExternalStore } from "react";

/** What the page shows. It is part of the address, so that one can link to it and open it as another user side by side. */
export interface View {
  user: number | undefined;
  article: number | undefined;
  community: number | undefined;
  discussion: number | "new" | undefined;
}

const changed = "demo:view";

function subscribe(listener: () => void) {
  window.addEventListener("popstate", listener);
  window.addEventListener(changed, listener);
  return () => {
    window.removeEventListener("popstate", listener);
    window.removeEventListener(changed, listener);
  };
}

export function useView(): [View, (change: Partial<View>) => void] {
  const search = useSyncExternalStore(
    subscribe,
    () => window.location.search,
    () => "",
  );
  const set = useCallback((change: Partial<View>) => {
    const next = new URLSearchParams(window.location.search);
    for (const [name, value] of Object.entries(change)) {
      if (value === undefined) next.delete(name);
      else next.set(name, String(value));
    }
    window.history.pushState(null, "", `?${next}`);
    window.dispatchEvent(new Event(changed));
  }, []);
  const parameters = new URLSearchParams(search);
  const number = (name: string) => Number(parameters.get(name)) || undefined;
  const discussion = parameters.get("discussion") === "new" ? "new" : number("discussion");
  return [{ user: number("user"), article: number("article"), community: number("community"), discussion }, set];
}

import { useCallback, useSyncExternalStore } from "react";
import { ago } from "../lib/time";

let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

/** One clock for the whole page. */
function everyMinute(listener: () => void) {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const one of [...listeners]) one();
  }, 60_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** How long ago a time was. Renders again only when its text changes. */
export function Time({ value }: { value: string }) {
  const words = useCallback(() => ago(value, now), [value]);
  const shown = useSyncExternalStore(everyMinute, words, words);
  return (
    <time dateTime={value} title={new Date(value).toLocaleString("en")}>
      {shown}
    </time>
  );
}

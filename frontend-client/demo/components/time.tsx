import { useSyncExternalStore } from "react";
import { ago } from "../lib/time";

let now = Date.now();

function everyMinute(listener: () => void) {
  const timer = setInterval(() => {
    now = Date.now();
    listener();
  }, 60_000);
  return () => clearInterval(timer);
}

export function Time({ value }: { value: string }) {
  const current = useSyncExternalStore(
    everyMinute,
    () => now,
    () => now,
  );
  return (
    <time dateTime={value} title={new Date(value).toLocaleString("en")}>
      {ago(value, current)}
    </time>
  );
}

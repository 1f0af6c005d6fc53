"use client";
import { useRealtimeStatus } from "@scicommons/discussions-client/react";

const words = {
  connecting: "Connecting",
  live: "Live",
  catching_up: "Catching up",
  stale: "Reconnecting",
  offline: "Offline",
  signed_out: "Signed out",
} as const;

export function StatusBadge() {
  const status = useRealtimeStatus();
  const since =
    "since" in status
      ? new Date(status.since).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit" })
      : undefined;
  const none = status.state === "stale" && status.code === "no_communities";
  return (
    <span role="status" className="badge" data-state={status.state}>
      <span aria-hidden="true" className="dot" />
      {none ? "No community" : words[status.state]}
      {since && !none && <span className="since"> · as of {since}</span>}
    </span>
  );
}

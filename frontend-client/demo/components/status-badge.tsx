"use client";
import { useNextTry, useRealtimeStatus } from "@scicommons/discussions-client/react";
import { useEffect, useRef } from "react";
import { announce } from "../lib/announce";

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
  const { seconds, tryNow } = useNextTry();
  const since =
    "since" in status
      ? new Date(status.since).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit" })
      : undefined;
  const none = status.state === "stale" && status.code === "no_communities";
  // Only what is worth it: a short wait is not announced, nor is the first connection.
  const said = useRef<string>(undefined);
  useEffect(() => {
    const before = said.current;
    if (status.state === "live" && before !== undefined) announce("Live again");
    else if (status.state === "stale" && before === undefined && !none) announce("Reconnecting");
    else if (status.state === "offline" && before !== "offline") announce("Offline");
    else if (status.state === "signed_out" && before !== "signed_out") announce("You are signed out");
    if (status.state === "live") said.current = undefined;
    else if (status.state !== "connecting" && status.state !== "catching_up") said.current = status.state;
  }, [status.state, none]);
  return (
    <p className="badge" data-state={status.state}>
      <span aria-hidden="true" className="dot" />
      {none ? "No community" : words[status.state]}
      {since && !none && <span className="since"> · as of {since}</span>}
      {seconds !== undefined && <span className="next"> · in {seconds} s</span>}
      {!none && (status.state === "stale" || status.state === "offline") && (
        <>
          {" · "}
          <button type="button" className="link" onClick={tryNow}>
            try now
          </button>
        </>
      )}
    </p>
  );
}

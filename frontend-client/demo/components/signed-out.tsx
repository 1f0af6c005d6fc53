"use client";
import { useRealtimeStatus, useReconnect } from "@scicommons/discussions-client/react";

/** Says that the session has ended, and offers the way back. */
export function SignedOut({ username }: { username: string }) {
  const status = useRealtimeStatus();
  const reconnect = useReconnect();
  if (status.state !== "signed_out") return null;
  return (
    <section className="banner" aria-label="Signed out">
      <p>
        <strong>You are signed out.</strong> This page has stopped updating. What you write is kept in this browser, and
        sent when you are back.
      </p>
      <button type="button" className="primary" onClick={reconnect}>
        Sign in again as {username}
      </button>
    </section>
  );
}

"use client";
import { useEffect } from "react";
import { useAnnouncement } from "../lib/announce";

/** The page's one live region. */
export function Announcements() {
  // The framework has one of its own, which says the title. The page moves the focus to what it shows, so that would be heard twice.
  useEffect(() => document.querySelector("next-route-announcer")?.remove(), []);
  return (
    <p role="status" className="visually-hidden">
      {useAnnouncement()}
    </p>
  );
}

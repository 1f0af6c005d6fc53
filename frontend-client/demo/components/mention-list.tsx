"use client";
import type { useMention } from "@scicommons/discussions-client/react";
import { useEffect, useRef } from "react";
import { announce } from "../lib/announce";
import { Avatar } from "./byline";

/** Whom the writer may mean. It stands above the field, so that nothing below it moves. */
export function MentionList({ mention }: { mention: ReturnType<typeof useMention> }) {
  const { active, candidates, isOpen, list, option, status } = mention;
  const shown = useRef<HTMLUListElement>(null);
  useEffect(() => {
    if (status) announce(status);
  }, [status]);
  useEffect(() => {
    if (isOpen) shown.current?.children[active]?.scrollIntoView({ block: "nearest" });
  }, [active, isOpen]);
  if (!isOpen) return null;
  return (
    <ul ref={shown} className="mention-list" {...list}>
      {candidates.map(({ author, handle }, index) => (
        // The field has the keys.
        <li key={handle} {...option(index)}>
          <Avatar name={author.username} pseudonym={author.id === null} />
          <bdi className="name">{author.username}</bdi>
          {handle !== author.username && <bdi className="muted">@{handle}</bdi>}
        </li>
      ))}
    </ul>
  );
}

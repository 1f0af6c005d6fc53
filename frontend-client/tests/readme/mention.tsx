"use client";
import { useMention, useWatch } from "@scicommons/discussions-client/react";
import { useState } from "react";

export function Field({ communityId, articleId }: { communityId: number; articleId: number }) {
  const [text, setText] = useState("");
  const mention = useMention({ communityId, articleId });
  return (
    <>
      <textarea
        {...mention.field}
        aria-label="Write a comment"
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      {mention.isOpen && (
        <ul {...mention.list}>
          {mention.candidates.map(({ author, handle }, index) => (
            <li key={handle} {...mention.option(index)}>
              {author.username}
            </li>
          ))}
        </ul>
      )}
      <p role="status">{mention.status}</p>
    </>
  );
}

export function Guest({ communityId }: { communityId: number }) {
  const [watched] = useWatch([communityId]);
  return <p>{watched === undefined ? "You are reading as a guest." : "You are reading as a guest, live."}</p>;
}

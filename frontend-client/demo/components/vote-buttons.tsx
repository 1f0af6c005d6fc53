"use client";
import type { VoteValue } from "@scicommons/discussions-client";

export interface VoteButtonsProps {
  upvotes: number;
  downvotes: number;
  own_vote: VoteValue | null;
  /** What is voted on, for a screen reader: "the comment by ada". */
  what: string;
  /** Undefined if the user may not vote: then only the numbers show, if there are any. */
  onVote: ((value: VoteValue) => void) | undefined;
}

/** The votes, with buttons to vote up and down. Pressing a pressed button takes the vote back. */
export function VoteButtons({ upvotes, downvotes, own_vote, what, onVote }: VoteButtonsProps) {
  const kinds = [
    { value: 1, sign: "▲", verb: "Vote up", name: "up", count: upvotes },
    { value: -1, sign: "▼", verb: "Vote down", name: "down", count: downvotes },
  ] as const;
  if (!onVote && upvotes + downvotes === 0) return null;
  return (
    <span className="votes">
      {kinds.map(({ value, sign, verb, name, count }) =>
        onVote ? (
          <button
            key={name}
            type="button"
            className="vote"
            aria-pressed={own_vote === value}
            onClick={() => onVote(own_vote === value ? 0 : value)}
          >
            <span aria-hidden="true">{sign}</span>{" "}
            <span className="visually-hidden">
              {verb}: {what}, now{" "}
            </span>
            {count}
          </button>
        ) : (
          <span key={name} className="vote">
            <span aria-hidden="true">{sign}</span> <span className="visually-hidden">Votes {name}: </span>
            {count}
          </span>
        ),
      )}
    </span>
  );
}

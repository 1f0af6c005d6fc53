"use client";
import { explain, type FollowLevel } from "@scicommons/discussions-client";
import { useFollow, type Followable } from "@scicommons/discussions-client/react";
import { useEffect, useId, useRef } from "react";
import { announce } from "../lib/announce";
import { Failure } from "./notice";

export interface FollowMenuProps {
  thing: Followable;
  /** What it is, for its name: "the discussion". */
  what: string;
}

/** Lets a member follow or mute something. It shows nothing to others. */
export function FollowMenu({ thing, what }: FollowMenuProps) {
  const { level, isFollowed, isDefault, set, error } = useFollow(thing);
  const id = useId();
  const said = useRef<FollowLevel>(undefined);
  const chosen = isDefault ? "default" : (level ?? "default");
  useEffect(() => {
    if (said.current !== undefined && said.current === chosen) announce(outcomes[chosen](what, isFollowed === true));
    said.current = undefined;
  }, [chosen, isFollowed, what]);
  if (level === null) return null;
  const choose = (next: FollowLevel) => {
    said.current = next;
    set(next);
  };
  return (
    <span className="follow">
      <label htmlFor={id} className="visually-hidden">
        What you want to hear of {what}
      </label>
      <select id={id} value={chosen} onChange={(event) => choose(event.target.value as FollowLevel)}>
        <option value="default">{defaults(isDefault ? isFollowed : null)}</option>
        <option value="follow">Following</option>
        <option value="mute">Muted</option>
      </select>
      {error && <Failure text={`It was not changed: ${explain(error)}`} />}
    </span>
  );
}

/** What holds if nothing is said, as far as it is known. */
function defaults(isFollowed: boolean | null): string {
  if (isFollowed === null) return "By default";
  return isFollowed ? "Following by default" : "Not following";
}

const outcomes: Record<FollowLevel, (what: string, isFollowed: boolean) => string> = {
  follow: (what) => `You follow ${what}`,
  mute: (what) => `You have muted ${what}`,
  default: (what, isFollowed) => (isFollowed ? `You follow ${what} by default` : `You do not follow ${what}`),
};

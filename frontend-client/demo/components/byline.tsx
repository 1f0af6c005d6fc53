import { firstGrapheme, type Author } from "@scicommons/discussions-client";
import type { ReactNode } from "react";
import { Time } from "./time";
import { UnreadDot } from "./unread-dot";

export interface BylineProps {
  author: Author | null;
  mine: boolean;
  myName: string;
  created: string;
  edited: string | null;
  pending: boolean;
  unread?: boolean;
  /** Makes a heading of the name. */
  heading?: (name: ReactNode) => ReactNode;
  /** The address of the text itself. */
  link?: string;
}

export function Byline({ author, mine, myName, created, edited, pending, unread = false, heading, link }: BylineProps) {
  const name = author?.username || (mine ? myName : "unknown");
  const shown = <bdi className="name">{name}</bdi>;
  const time = <Time value={created} />;
  return (
    <div className="byline">
      {unread && <UnreadDot />}
      <Avatar name={name} pseudonym={author?.id === null && author.username !== ""} />
      {heading ? heading(shown) : shown}
      {mine && name !== "You" && <span className="you">you</span>}
      <span className="muted">
        {pending ? "sending…" : link === undefined ? time : <a href={link}>{time}</a>}
        {!pending && edited && (
          <>
            {" · "}
            <span title={new Date(edited).toLocaleString("en-GB")}>edited</span>
          </>
        )}
      </span>
    </div>
  );
}

export function Avatar({ name, pseudonym = false }: { name: string; pseudonym?: boolean }) {
  const hue = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
  return (
    <span
      aria-hidden="true"
      className={pseudonym ? "avatar masked" : "avatar"}
      style={{ "--hue": hue } as React.CSSProperties}
    >
      {firstGrapheme(name).toUpperCase()}
    </span>
  );
}

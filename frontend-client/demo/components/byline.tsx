import { firstGrapheme, type Author } from "@scicommons/discussions-client";
import { Time } from "./time";

export interface BylineProps {
  author: Author | null;
  mine: boolean;
  myName: string;
  created: string;
  edited: string | null;
  pending: boolean;
}

export function Byline({ author, mine, myName, created, edited, pending }: BylineProps) {
  const name = author?.username || (mine ? myName : "unknown");
  return (
    <p className="byline">
      <Avatar name={name} pseudonym={author?.id === null && author.username !== ""} />
      <bdi className="name">{name}</bdi>
      {mine && <span className="you">you</span>}
      <span className="muted">
        {pending ? "sending…" : <Time value={created} />}
        {!pending && edited && " · edited"}
      </span>
    </p>
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

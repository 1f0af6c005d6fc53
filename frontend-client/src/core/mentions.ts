import type { Author } from "./generated/api.js";
import type { CommunityMember } from "./wire.js";

/** An `@` before the caret, and what follows it. */
export interface MentionAt {
  /** Where the `@` is. */
  start: number;
  /** What is written after it. */
  query: string;
}

/** A word character before the `@` makes it an address such as `a@b.org`. Lookbehind is not in all supported browsers. */
const beforeCaret = /(?:^|[^\p{L}\p{N}_@/.])@([\p{L}\p{N}_.+-]{0,60})$/u;

/** The mention that is being written at the caret, if any. There is none in code. */
export function mentionAt(text: string, caret: number): MentionAt | undefined {
  const line = text.slice(text.lastIndexOf("\n", caret - 1) + 1, caret);
  const query = beforeCaret.exec(line)?.[1];
  if (query === undefined || (line.split("`").length - 1) % 2 === 1) return undefined;
  return { start: caret - query.length - 1, query };
}

/** What one writes after `@` to mention somebody. A pseudonym's spaces become hyphens. */
export function handleOf({ id, username }: Author): string {
  return id === null ? username.replace(/ /g, "-") : username;
}

/** The members whose handle or name begins with the query. */
export function matching(members: readonly CommunityMember[], query: string): CommunityMember[] {
  const start = query.toLowerCase();
  return members.filter(({ author, handle }) =>
    [handle, author.username].some((name) => name.toLowerCase().startsWith(start)),
  );
}

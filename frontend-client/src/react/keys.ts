import type { DiscussionScope } from "../reducers/discussions.js";

/** Who looks is part of every key: what one user may see must not be shown to the next. */
export type User = string | number | null;

const root = "scicommons-discussions";

export const keys = {
  all: (user: User) => [root, user] as const,
  discussions: (user: User, scope: DiscussionScope) =>
    [root, user, "discussions", scope.articleId, scope.communityId ?? null] as const,
  comments: (user: User, discussionId: number) => [root, user, "comments", discussionId] as const,
};

/** What a key of this package stands for. */
export type Subject =
  | { kind: "discussions"; user: User; scope: DiscussionScope }
  | { kind: "comments"; user: User; discussionId: number };

export function subjectOf(key: readonly unknown[]): Subject | undefined {
  const [first, user, kind, id, communityId] = key;
  if (first !== root || typeof id !== "number") return undefined;
  if (kind === "comments") return { kind, user: user as User, discussionId: id };
  if (kind !== "discussions") return undefined;
  return { kind, user: user as User, scope: { articleId: id, communityId: (communityId as number | null) ?? undefined } };
}

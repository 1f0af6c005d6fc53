import type { ViewerInfo } from "../generated/api.js";
import type { DiscussionScope } from "../reducers/discussions.js";

/** Who looks is part of every key: what one user may see must not be shown to the next. */
export type User = string | number | null;

const root = "scicommons-discussions";

/** One user has one name, whether the application holds the id as a number or as a string. */
export function normalUser(user: User): User {
  if (typeof user !== "string" || !/^\d+$/.test(user)) return user;
  const id = Number(user);
  return Number.isSafeInteger(id) ? id : user;
}

/** Whether the server made the answer for this user. */
export function isFor(user: User, viewer: Pick<ViewerInfo, "user_id"> | null): boolean {
  return (viewer?.user_id ?? null) === normalUser(user);
}

export const keys = {
  all: (user: User) => [root, normalUser(user)] as const,
  discussions: (user: User, scope: DiscussionScope) =>
    [root, normalUser(user), "discussions", scope.articleId, scope.communityId ?? null] as const,
  comments: (user: User, discussionId: number) => [root, normalUser(user), "comments", discussionId] as const,
  discussion: (user: User, discussionId: number) => [root, normalUser(user), "discussion", discussionId] as const,
};

/** What a key of this package stands for. */
export type Subject =
  { kind: "discussions"; user: User; scope: DiscussionScope } | { kind: "comments"; user: User; discussionId: number };

export function subjectOf(key: readonly unknown[]): Subject | undefined {
  const [first, user, kind, id, communityId] = key;
  if (first !== root || typeof id !== "number") return undefined;
  if (kind === "comments") return { kind, user: user as User, discussionId: id };
  if (kind !== "discussions") return undefined;
  return {
    kind,
    user: user as User,
    scope: { articleId: id, communityId: (communityId as number | null) ?? undefined },
  };
}

import type { ViewerInfo } from "../generated/api.js";
import type { DiscussionScope } from "../reducers/discussions.js";

/** Every key contains the user, so that a page never shows what only the previous user may see. */
export type User = string | number | null;

const root = "scicommons-discussions";

/** Makes numeric ids numbers, so that an id is the same user whether the application has it as a number or a string. */
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

/** The data that a key of this package stands for. */
export type Subject =
  | { kind: "discussions"; user: User; scope: DiscussionScope }
  | { kind: "comments" | "discussion"; user: User; discussionId: number };

export function subjectOf(key: readonly unknown[]): Subject | undefined {
  const [first, user, kind, id, communityId] = key;
  if (first !== root || typeof id !== "number") return undefined;
  if (kind === "comments" || kind === "discussion") return { kind, user: user as User, discussionId: id };
  if (kind !== "discussions") return undefined;
  return {
    kind,
    user: user as User,
    scope: { articleId: id, communityId: (communityId as number | null) ?? undefined },
  };
}

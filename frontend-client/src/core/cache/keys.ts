import type { ViewerInfo } from "../generated/api.js";
import type { DiscussionScope } from "../reducers/discussions.js";
import type { FollowScope } from "../reducers/follows.js";
import type { NotificationScope } from "../reducers/notifications.js";
import type { SummaryScope } from "../reducers/summary.js";
import type { UnreadScope } from "../reducers/unread-list.js";

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
  /** `around` is the comment that the first page was read around, if any. */
  comments: (user: User, discussionId: number, around?: number) =>
    [root, normalUser(user), "comments", discussionId, ...(around === undefined ? [] : [around])] as const,
  discussion: (user: User, discussionId: number) => [root, normalUser(user), "discussion", discussionId] as const,
  unread: (user: User, { articleId, communityId, followed }: UnreadScope) =>
    [
      root,
      normalUser(user),
      "unread",
      articleId ?? null,
      communityId ?? null,
      ...(followed ? (["followed"] as const) : []),
    ] as const,
  /** What the user follows of an article. */
  follows: (user: User, { articleId, communityId }: FollowScope) =>
    [root, normalUser(user), "follows", articleId, communityId] as const,
  notifications: (user: User, { unread }: NotificationScope) =>
    [root, normalUser(user), "notifications", unread ? "unread" : "all"] as const,
  summary: (user: User, { articleId, communityId }: SummaryScope) =>
    [root, normalUser(user), "summary", articleId, communityId] as const,
  /** Whom one can mention. */
  members: (user: User, { articleId, communityId }: MemberScope, prefix: string) =>
    [root, normalUser(user), "members", communityId, articleId ?? null, prefix] as const,
};

/** Where somebody is mentioned. */
export interface MemberScope {
  communityId: number;
  /** The article: on a pseudonymous one only pseudonyms can be mentioned. */
  articleId?: number | undefined;
}

/** The scope of a list of what is unread, if the key is of one. */
export function unreadScopeOf(key: readonly unknown[]): { user: User; scope: UnreadScope } | undefined {
  const [first, user, kind, articleId, communityId, followed] = key as [
    unknown,
    User,
    unknown,
    number | null,
    number | null,
    unknown,
  ];
  if (first !== root || kind !== "unread") return undefined;
  const place = { articleId: articleId ?? undefined, communityId: communityId ?? undefined };
  return { user, scope: { ...place, followed: followed === "followed" } };
}

/** The scope of a list of what is followed, if the key is of one. */
export function followScopeOf(key: readonly unknown[]): { user: User; scope: FollowScope } | undefined {
  const [first, user, kind, articleId, communityId] = key as [unknown, User, unknown, number, number];
  return first === root && kind === "follows" ? { user, scope: { articleId, communityId } } : undefined;
}

/** The scope of a list of notifications, if the key is of one. */
export function notificationScopeOf(key: readonly unknown[]): { user: User; scope: NotificationScope } | undefined {
  const [first, user, kind, which] = key as [unknown, User, unknown, unknown];
  return first === root && kind === "notifications" ? { user, scope: { unread: which === "unread" } } : undefined;
}

/** The scope of a summary, if the key is of one. */
export function summaryScopeOf(key: readonly unknown[]): { user: User; scope: SummaryScope } | undefined {
  const [first, user, kind, articleId, communityId] = key as [unknown, User, unknown, number, number];
  return first === root && kind === "summary" ? { user, scope: { articleId, communityId } } : undefined;
}

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

import type { Author, ViewerInfo, ViewerMembership } from "./generated/api.js";

/** The viewer's membership in a community. A thread's viewer has no membership but that of its own community. */
export function membershipIn(viewer: ViewerInfo | null, communityId: number | undefined): ViewerMembership | undefined {
  return viewer?.memberships.find((one) => communityId === undefined || one.community_id === communityId);
}

/** Whether the viewer is the author, by id or by the viewer's pseudonym in that community. */
export function isMine(author: Author | null, viewer: ViewerInfo | null, communityId?: number): boolean {
  if (!author || !viewer) return false;
  if (author.id !== null) return author.id === viewer.user_id;
  return viewer.memberships.some(
    (membership) =>
      membership.pseudonym === author.username &&
      (communityId === undefined || membership.community_id === communityId),
  );
}

/** Until the answer to the first post names the viewer's pseudonym, any pseudonym there may be it. */
export function mayBeMine(author: Author | null, viewer: ViewerInfo | null, communityId?: number): boolean {
  const own = membershipIn(viewer, communityId);
  return isMine(author, viewer, communityId) || (author?.id === null && own !== undefined && own.pseudonym === null);
}

/** What decides whether something is unread, as long as it is not marked as read. */
interface Written {
  author: Author | null;
  created_at: string;
  deleted_at: string | null;
}

/** Whether something that is not marked as read is unread: it is live, of somebody else, and younger than the membership. */
export function countsAsUnread(item: Written, viewer: ViewerInfo | null, communityId?: number): boolean {
  const joined = membershipIn(viewer, communityId)?.joined_at;
  if (joined === undefined || item.deleted_at !== null) return false;
  return !isMine(item.author, viewer, communityId) && isLater(item.created_at, joined);
}

/** Whether time `a` is later than `b`. The server's times have microseconds, which `Date` does not have. */
export function isLater(a: string, b: string): boolean {
  const difference = Date.parse(a) - Date.parse(b);
  return difference === 0 ? fraction(a) > fraction(b) : difference > 0;
}

const fraction = (time: string) => (/\.(\d+)/.exec(time)?.[1] ?? "").padEnd(9, "0");

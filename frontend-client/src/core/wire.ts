import type { listFollows, listNotifications, markNotificationsRead, register } from "./generated/api.js";
import { listMentionable } from "./generated/api.js";

/** Lists whom one can mention. */
export const fetchMembers = listMentionable;

/** A page of a user's notifications, newest first. */
export type Notifications = Awaited<ReturnType<typeof listNotifications>>;
/** One thing that concerns one user. */
export type Notification = Notifications["notifications"][number];
/** Notifications that were read. */
export type NotificationMarks = Parameters<typeof markNotificationsRead>[0];
/** What a user follows or has muted. */
export type Follows = Awaited<ReturnType<typeof listFollows>>;
export type Follow = Follows["follows"][number];
/** What a user says about an article or a discussion. */
export type FollowLevel = Follow["level"];
/** Who can be mentioned. */
export type CommunityMembers = Awaited<ReturnType<typeof fetchMembers>>;
export type CommunityMember = CommunityMembers["members"][number];
/** Which events a queue gets. */
export type Only = NonNullable<NonNullable<Parameters<typeof register>[0]>["only"]>;

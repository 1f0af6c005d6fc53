import type { listFollows, listMembers, listNotifications, register } from "./generated/api.js";

/** A page of a user's notifications, newest first. */
export type Notifications = Awaited<ReturnType<typeof listNotifications>>;
/** One thing that concerns one user. */
export type Notification = Notifications["notifications"][number];
/** What a user follows or has muted. */
export type Follows = Awaited<ReturnType<typeof listFollows>>;
export type Follow = Follows["follows"][number];
/** What a user says about an article or a discussion. */
export type FollowLevel = Follow["level"];
/** Who can be mentioned. */
export type CommunityMembers = Awaited<ReturnType<typeof listMembers>>;
export type CommunityMember = CommunityMembers["members"][number];
/** Which events a queue gets. */
export type Only = NonNullable<NonNullable<Parameters<typeof register>[0]>["only"]>;

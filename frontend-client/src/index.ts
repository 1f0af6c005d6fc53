export * from "./core/generated/api.js";
export type {
  CommunityMember,
  CommunityMembers,
  Follow,
  FollowLevel,
  Follows,
  Notification,
  NotificationMarks,
  Notifications,
  Only,
} from "./core/wire.js";
export { configureApi, type ApiConfig, type TokenRequest, type TokenSource } from "./core/api/config.js";
export { ApiError, isApiError, isTransient, WrongViewerError } from "./core/api/error.js";
export { callOptions, type RequestOptions } from "./core/api/request.js";
export { createLogin, type Login, type LoginOptions, type LoginTokens } from "./core/login.js";
export {
  RealtimeClient,
  type ChangeListener,
  type Coverage,
  type LogChange,
  type RealtimeOptions,
} from "./core/live/realtime-client.js";
export type { BackoffOptions } from "./core/live/backoff.js";
export type { Channel, Environment, Locks, PageSignal, PageSignals, Timers } from "./core/live/environment.js";
export { EventLog } from "./core/live/log.js";
export type { RealtimeStatus } from "./core/live/status.js";
export { concernsDiscussions, foldDiscussions, type DiscussionScope } from "./core/reducers/discussions.js";
export { commentTrees, concernsComments, foldComments } from "./core/reducers/comments.js";
export { foldFollows, type ArticleFollow, type FollowScope } from "./core/reducers/follows.js";
export { foldNotifications, type NotificationScope } from "./core/reducers/notifications.js";
export { foldSummary, type SummaryScope, type SummarySnapshot } from "./core/reducers/summary.js";
export { handleOf, mentionAt, type MentionAt } from "./core/mentions.js";
export type { AuthorChanged, KnownEvent } from "./core/events.js";
export type { Folded } from "./core/reducers/fold.js";
export { countCharacters, firstGrapheme, isComposing, limits, type ComposedKey } from "./core/text.js";
export { DiscardedError, explain } from "./core/cache/outbox.js";

"use client";
export {
  RealtimeProvider,
  useRealtimeEvents,
  useReconnect,
  useRealtimeStatus,
  type RealtimeProviderProps,
} from "./provider.js";
export { useDiscussions, type UseDiscussionsOptions } from "./use-discussions.js";
export { useDiscussion, type UseDiscussionOptions } from "./use-discussion.js";
export { useComments, type UseCommentsOptions } from "./use-comments.js";
export { isMine, type CommentItem, type DiscussionItem, type ItemState } from "../core/cache/overlay.js";
export type { Access } from "./access.js";
export type { User } from "../core/cache/keys.js";
export { useDraft } from "./use-draft.js";
export { places } from "../core/cache/drafts.js";
export type { Version } from "../core/cache/pending.js";
export type { RemoveOptions, SendOptions, UpdateOptions } from "./use-pages.js";

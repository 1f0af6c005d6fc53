/** The queries that a rendering server prefetches. This module has no React hooks and no "use client". */
export {
  commentsQuery,
  discussionQuery,
  discussionsQuery,
  notificationsQuery,
  type PagesQuery,
  type QueryContext,
} from "./core/cache/queries.js";

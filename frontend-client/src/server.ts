/** What a server prefetches with: no React hooks, no "use client". */
export { commentsQuery, discussionsQuery, type PagesQuery, type QueryContext } from "./core/cache/queries.js";

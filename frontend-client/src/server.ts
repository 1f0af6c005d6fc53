/** What a server prefetches with: no React hooks, no "use client". */
export { commentsQuery, discussionsQuery, type QueryContext } from "./react/queries.js";

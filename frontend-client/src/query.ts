/** TanStack Query hooks for every call, as orval generates them. `./react` has those that stay live. */
export * from "./react/generated/query.js";

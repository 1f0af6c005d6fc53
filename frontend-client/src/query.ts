/** The TanStack Query hooks that orval generates for every call. They are not live; the hooks of `./react` are. */
export * from "./react/generated/query.js";

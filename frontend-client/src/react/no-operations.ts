import type { Operation } from "../core/cache/pending.js";

const none: readonly Operation[] = [];

/** What a server renders with: nothing of the user is pending. */
export const noOperations = () => none;

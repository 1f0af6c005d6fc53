import { DiscardedError } from "@scicommons/discussions-client";

/** The user took it back: no failure. */
export const isDiscarded = (error: unknown) => error instanceof DiscardedError;

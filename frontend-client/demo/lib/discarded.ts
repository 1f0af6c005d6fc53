import { DiscardedError } from "@scicommons/discussions-client";

/** Whether the user discarded the write. This is no failure to report. */
export const isDiscarded = (error: unknown) => error instanceof DiscardedError;

/** What the server takes, in code points after trimming. */
export const limits = { topic: 200, text: 50_000 } as const;

/** Without white space at its ends, as the server sees it: its idea of white space is Unicode's. */
export function trimmed(text: string): string {
  return text.replace(/^\p{White_Space}+/u, "").replace(/\p{White_Space}+$/u, "");
}

/** How many characters the server counts: code points after trimming. */
export function countCharacters(text: string): number {
  let count = 0;
  for (const _ of trimmed(text)) count += 1;
  return count;
}

/** The first sign as a reader sees it, such as a flag or a letter with its accents; for an avatar. */
export function firstGrapheme(text: string): string {
  // Younger than the oldest browsers that the package supports.
  const { Segmenter } = Intl as typeof Intl & {
    Segmenter?: new (locale?: string, options?: { granularity: "grapheme" }) => GraphemeSegmenter;
  };
  const letters: Iterable<string | { segment: string }> = Segmenter
    ? new Segmenter(undefined, { granularity: "grapheme" }).segment(text)
    : text;
  for (const letter of letters) return typeof letter === "string" ? letter : letter.segment;
  return "";
}

interface GraphemeSegmenter {
  segment(text: string): Iterable<{ segment: string }>;
}

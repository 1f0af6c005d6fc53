/** The longest texts that the server accepts, in code points after trimming. */
export const limits = { topic: 200, text: 50_000 } as const;

/** Removes white space at both ends as the server does, which uses Unicode's definition of white space. */
export function trimmed(text: string): string {
  return text.replace(/^\p{White_Space}+/u, "").replace(/\p{White_Space}+$/u, "");
}

/** Counts characters as the server does: code points after trimming. */
export function countCharacters(text: string): number {
  let count = 0;
  for (const _ of trimmed(text)) count += 1;
  return count;
}

/** The first character as a reader sees it, such as a flag or a letter with its accents; for an avatar. */
export function firstGrapheme(text: string): string {
  // The oldest supported browsers do not have it.
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

/** The part of a browser's or React's keyboard event that tells whether an input method has the key. */
export interface ComposedKey {
  isComposing?: boolean;
  keyCode?: number;
  nativeEvent?: { isComposing?: boolean; keyCode?: number };
}

/** Whether the key belongs to an input method, as for Chinese or Japanese. A shortcut must then leave it alone. */
export function isComposing(event: ComposedKey): boolean {
  const { isComposing: composes, keyCode } = event.nativeEvent ?? event;
  // Safari ends the composition before the key that confirms it, and marks that key with 229.
  return composes === true || keyCode === 229;
}

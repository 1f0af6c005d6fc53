"use client";
import type { Author } from "@scicommons/discussions-client";
import { Markdown as Rendered } from "@scicommons/discussions-client/markdown";
import { usePlace } from "../lib/place";

/** A text. Mentions are marked, and those of the reader stand out. */
export function Markdown({ text, mentions }: { text: string; mentions?: readonly Author[] }) {
  const viewer = usePlace()?.viewer ?? null;
  return <Rendered text={text} viewer={viewer} {...(mentions && { mentions })} />;
}

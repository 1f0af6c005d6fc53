import type { Author, ViewerInfo } from "@scicommons/discussions-client";
import type { DemoCommunity } from "./demo-api";

/** Under which name the user writes in a community. The server makes a pseudonym at the first text and does not say before whether. */
export type Signature =
  | { kind: "name"; name: string }
  | { kind: "pseudonym"; name: string }
  | { kind: "new_pseudonym" }
  | { kind: "unknown"; name: string };

/** `authors`: whoever wrote in this community on this article, as far as it is known. */
export function signatureIn(
  communityId: number,
  viewer: ViewerInfo | null,
  username: string,
  authors: readonly (Author | null)[],
): Signature {
  const membership = viewer?.memberships.find((one) => one.community_id === communityId);
  if (membership?.pseudonym) return { kind: "pseudonym", name: membership.pseudonym };
  const known = authors.filter((author) => author !== null && author.username !== "");
  if (known.some((author) => author?.id === null)) return { kind: "new_pseudonym" };
  return { kind: known.length > 0 ? "name" : "unknown", name: username };
}

export function whoSigns(signature: Signature): string {
  switch (signature.kind) {
    case "name":
      return `You sign as ${signature.name}.`;
    case "pseudonym":
      return `You sign as ${signature.name}, your pseudonym here.`;
    case "new_pseudonym":
      return "You sign with a pseudonym, which you get with your first text.";
    case "unknown":
      return `You sign as ${signature.name}, or with a pseudonym if this community uses them.`;
  }
}

/** As `whoSigns`, for a summary: where people write under pseudonyms it names nobody, because only admins write it. */
export function whoSignsSummary(signature: Signature): string {
  switch (signature.kind) {
    case "name":
      return whoSigns(signature);
    case "unknown":
      return `You sign as ${signature.name}, or with no name if this community uses pseudonyms.`;
    case "pseudonym":
    case "new_pseudonym":
      return "It says that the admins wrote it, and not who.";
  }
}

export function whoReads(community: DemoCommunity): string {
  switch (community.kind) {
    case "public":
      return "Everybody can read this.";
    case "open":
      return "Everybody can read this, and write here.";
    case "private":
      return `Only members of ${community.name} can read this.`;
    case "hidden":
      return `Only members of ${community.name} can read this. Others do not see that it exists.`;
  }
}

/** The name to show for the user's own text before the server has said its author. Never the real name where a pseudonym may follow. */
export function ownName(signature: Signature): string {
  return signature.kind === "name" || signature.kind === "pseudonym" ? signature.name : "You";
}

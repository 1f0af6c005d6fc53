import type { DemoCommunity } from "../lib/demo-api";
import { whoReads, whoSigns, type Signature } from "../lib/signs";

/** Says who reads a text and, with a signature, under which name it will stand. */
export function Audience({ community, signature }: { community: DemoCommunity; signature?: Signature }) {
  return (
    <span className="audience">
      {whoReads(community)}
      {signature && ` ${whoSigns(signature)}`}
    </span>
  );
}

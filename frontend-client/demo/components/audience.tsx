import type { DemoCommunity } from "../lib/demo-api";
import { whoIsGuessed, whoReads, whoSigns, type Signature } from "../lib/signs";

export interface AudienceProps {
  community: DemoCommunity;
  signature?: Signature;
  /** Only admins can write such a text. */
  byAdmins?: boolean;
}

/** Says who reads a text and, with a signature, under which name it will stand. */
export function Audience({ community, signature, byAdmins = false }: AudienceProps) {
  return (
    <span className="audience">
      {whoReads(community)}
      {signature && ` ${whoSigns(signature)}`}
      {signature && byAdmins && ` ${whoIsGuessed(signature)}`}
    </span>
  );
}

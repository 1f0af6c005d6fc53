import type { DemoCommunity } from "../lib/demo-api";
import { whoReads, whoSigns, whoSignsSummary, type Signature } from "../lib/signs";

export interface AudienceProps {
  community: DemoCommunity;
  signature?: Signature;
  /** It is a summary, which only admins write. */
  byAdmins?: boolean;
}

/** Says who reads a text and, with a signature, under which name it will stand. */
export function Audience({ community, signature, byAdmins = false }: AudienceProps) {
  return (
    <span className="audience">
      {whoReads(community)}
      {signature && ` ${byAdmins ? whoSignsSummary(signature) : whoSigns(signature)}`}
    </span>
  );
}

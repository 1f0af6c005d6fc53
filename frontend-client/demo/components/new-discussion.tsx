"use client";
import { places } from "@scicommons/discussions-client/react";
import { useMemo } from "react";
import type { DemoCommunity } from "../lib/demo-api";
import { PlaceContext } from "../lib/place";
import type { Signature } from "../lib/signs";
import { Audience } from "./audience";
import { Composer } from "./composer";

export interface NewDiscussionProps {
  articleId: number;
  /** Those in which the user may write: at least one. */
  communities: readonly [DemoCommunity, ...DemoCommunity[]];
  /** The community of the address. */
  into: number | undefined;
  signatureIn: (community: number) => Signature;
  onInto: (community: number) => void;
  onSend: (community: number, topic: string, text: string, key: string | undefined) => Promise<void>;
  onCancel: () => void;
}

export function NewDiscussion(props: NewDiscussionProps) {
  const { articleId, communities, into, signatureIn, onInto, onSend, onCancel } = props;
  const community = communities.find((one) => one.id === into) ?? communities[0];
  const place = useMemo(() => ({ articleId, communityId: community.id, viewer: null }), [articleId, community.id]);
  return (
    <section className="thread" aria-labelledby="new-title">
      <h2 id="new-title">New discussion</h2>
      <label className="field">
        Community
        <select value={community.id} onChange={(event) => onInto(Number(event.target.value))}>
          {communities.map((one) => (
            <option key={one.id} value={one.id}>
              {one.name}
            </option>
          ))}
        </select>
      </label>
      <PlaceContext value={place}>
        <Composer
          place={places.newDiscussion(articleId)}
          label="Text"
          action="Start discussion"
          audience={<Audience community={community} signature={signatureIn(community.id)} />}
          withTopic
          focus
          wait
          onCancel={onCancel}
          onSend={(text, topic, key) => onSend(community.id, topic, text, key)}
        />
      </PlaceContext>
    </section>
  );
}

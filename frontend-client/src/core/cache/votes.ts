import type { Votes, VoteValue } from "../generated/api.js";
import type { Outbox } from "./outbox.js";
import { voteKey, type VotedThing } from "./pending.js";

/**
 * Votes on a comment or discussion: 1 up, -1 down, 0 takes the vote back. It shows at once. Of several votes on one thing only
 * the newest counts, and no two are under way at a time, so that they arrive in order.
 */
export function sendVote(outbox: Outbox, thing: VotedThing, value: VoteValue): Promise<Votes> {
  const operation = { key: voteKey(thing), at: Date.now(), state: "sending" as const, ...thing, value };
  return outbox.send(operation) as Promise<Votes>;
}

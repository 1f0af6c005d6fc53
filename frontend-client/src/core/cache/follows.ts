import type { Follow, FollowLevel } from "../wire.js";
import type { Outbox } from "./outbox.js";
import { followKey, type FollowedThing } from "./pending.js";

/**
 * Says what the user wants to hear of a discussion or an article. It shows at once. Of several levels for one thing only the
 * newest counts, and no two are under way at a time, so that they arrive in order.
 */
export function sendFollow(outbox: Outbox, thing: FollowedThing, value: FollowLevel): Promise<Follow> {
  const base = { key: followKey(thing), at: Date.now(), state: "sending" as const, after: outbox.head() };
  return outbox.send({ ...base, ...thing, value }) as Promise<Follow>;
}

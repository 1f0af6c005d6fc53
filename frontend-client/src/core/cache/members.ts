import type { QueryClient } from "@tanstack/react-query";
import type { CommunityMember, CommunityMembers } from "../wire.js";
import { matching } from "../mentions.js";
import { keys, type MemberScope, type User } from "./keys.js";
import { MEMBERS_STALE_MS } from "./queries.js";

/** The server names at most so many. Fewer are all that there are. */
const MOST_MEMBERS = 20;

export interface KnownMembers {
  members: CommunityMember[];
  /** There are no others. */
  isComplete: boolean;
}

/** What the cache knows of the members whose handle begins with the query, also from the answers to shorter ones. */
export function knownMembers(client: QueryClient, user: User, scope: MemberScope, query: string): KnownMembers {
  for (let length = query.length; length >= 0; length -= 1) {
    const state = client.getQueryState<CommunityMembers>(keys.members(user, scope, query.slice(0, length)));
    if (!state?.data) continue;
    const { members } = state.data;
    const isFresh = !state.isInvalidated && Date.now() - state.dataUpdatedAt < MEMBERS_STALE_MS;
    const isAll = length === query.length || members.length < MOST_MEMBERS;
    return { members: matching(members, query), isComplete: isAll && isFresh };
  }
  return { members: [], isComplete: false };
}

"use client";
import { useInfiniteQuery, type InfiniteData } from "@tanstack/react-query";
import { useMemo, useSyncExternalStore } from "react";
import { places } from "../core/cache/drafts.js";
import type { Operation, Version } from "../core/cache/pending.js";
import type { Page, PagesQuery } from "../core/cache/queries.js";
import { articleOf, isOwn, type CachedPages } from "../core/cache/cached.js";
import { asHydrated } from "../core/cache/sync.js";
import { useAccess } from "./access.js";
import { useLiveConnection } from "./provider.js";
import { useRealtimeStatus } from "./use-status.js";

export interface SendOptions {
  /** The Idempotency-Key, such as a draft's. Two calls with the same key create one item. */
  key?: string | undefined;
}

export interface UpdateOptions {
  /**
   * What the user began to change, such as a draft's `from`. If somebody has changed topic or text since, the update rejects with
   * `changed_meanwhile`, and the error's `current` is what it is now. By default the update overwrites whatever is there.
   */
  from?: Version | undefined;
}

export interface RemoveOptions {
  /** The deletion is sent after this many milliseconds. Until then `discard(item.undo)` undoes it. Default: at once. */
  undoMs?: number;
}

/** Lists that do not get all their events, as of a community that the reader neither belongs to nor watches, are refreshed this often. */
export const UNFOLLOWED_REFRESH_MS = 60_000;

const subscribeToNothing = () => () => undefined;

/** Whether React hydrates this component now. */
function useIsHydrating(): boolean {
  return useSyncExternalStore(
    subscribeToNothing,
    () => false,
    () => true,
  );
}

function itemsOf(page: Page): readonly unknown[] {
  return "comments" in page ? page.comments : page.discussions;
}

/** The community of a thread. Its pages name the viewer's membership there and no other. */
function communityOf([first]: readonly Page[]): number | undefined {
  return first && "comments" in first ? first.viewer?.memberships[0]?.community_id : undefined;
}

/** Whether the viewer gets the events of all communities of the pages, as a member or by watching them. */
function isFollowed(pages: readonly Page[], communityId: number | undefined, covered: ReadonlySet<number>): boolean {
  const memberships = pages[0]?.viewer?.memberships ?? [];
  const shown = pages.flatMap((page) => ("discussions" in page ? page.discussions.map((one) => one.community_id) : []));
  const communities = communityId === undefined ? shown : [communityId];
  if (communities.length === 0) return memberships.length > 0;
  return communities.every((id) => covered.has(id) || memberships.some((membership) => membership.community_id === id));
}

/** The part that all list hooks share: the pages that this user may see, and their state. */
export function usePages<P extends Page>(
  options: PagesQuery<P>,
  knownCommunity: number | undefined,
  enabled: boolean,
  /** A page that is cached under another key. */
  initialPage?: () => P | undefined,
) {
  const connection = useLiveConnection();
  const status = useRealtimeStatus().state;
  const { queryClient } = connection;
  const covered = useSyncExternalStore(
    connection.communities.subscribe,
    connection.communities.get,
    connection.communities.initial,
  );
  const getsAll = () => connection.getsAllOf(articleOf(queryClient, options.queryKey));
  const query = useInfiniteQuery<P, Error, InfiniteData<P, string | null>, readonly unknown[], string | null>({
    ...options,
    enabled,
    refetchInterval: ({ state }) =>
      state.data && !(isFollowed(state.data.pages, knownCommunity, covered) && getsAll())
        ? UNFOLLOWED_REFRESH_MS
        : false,
    ...(initialPage && {
      initialData: () => {
        const page = initialPage();
        return page && { pages: [page], pageParams: [null] };
      },
      // A hook that was disabled at first has no initial data before TanStack Query 5.91.
      queryFn: async (context: Parameters<typeof options.queryFn>[0]) =>
        (queryClient.getQueryData(options.queryKey) === undefined && initialPage()) || options.queryFn(context),
    }),
  });
  // A list that is streamed to a live page gets its events at once, but React must first hydrate what the server rendered.
  const isHydrating = useIsHydrating();
  const hydrated = isHydrating ? asHydrated(queryClient, options.queryKey) : undefined;
  const data = (hydrated as CachedPages<P> | undefined) ?? query.data;
  const communityId = knownCommunity ?? communityOf(data?.pages ?? []);
  // If loading more fails, the loaded pages stay.
  const error = query.isFetchNextPageError || query.isFetchPreviousPageError ? null : query.error;
  const access = useAccess(communityId, error);
  const hidden = access.state === "denied" || (access.state !== "granted" && error);
  // Pages that were made for another user are fetched again.
  const foreign = data !== undefined && !isOwn(connection.user, data);
  const pages = hidden || foreign ? undefined : data?.pages;
  const state = {
    viewer: pages?.[0]?.viewer ?? null,
    access,
    /** Whether changes arrive as events. If not, as for a reader who neither is a member nor watches, the list is refreshed once a minute. */
    isLive: status === "live" && pages !== undefined && isFollowed(pages, communityId, covered) && getsAll(),
    isPending: query.isPending || foreign,
    /** The list was loaded and has nothing. A list that could not be loaded is not empty: it has an `error`. */
    isEmpty: pages !== undefined && pages.every((page) => itemsOf(page).length === 0),
    /** Why the last fetch failed. `refetch` tries again; after a failure that may pass, the list is also fetched when the page is live again. */
    error: query.error,
    hasMore: query.hasNextPage,
    isFetchingMore: query.isFetchingNextPage,
    fetchMore: query.fetchNextPage,
    refetch: query.refetch,
  };
  const earlier = {
    /** Whether there are comments before the first loaded one, as there may be in a thread that was opened `around` a comment. */
    hasEarlier: query.hasPreviousPage,
    isFetchingEarlier: query.isFetchingPreviousPage,
    fetchEarlier: query.fetchPreviousPage,
  };
  return { connection, pages, state, earlier };
}

/** Functions for an item that is not sent yet. */
export function useRepeat() {
  const { drafts, outbox, pending } = useLiveConnection();
  return useMemo(
    () => ({
      /** Sends a failed item again, with the same Idempotency-Key. */
      retry: async (key: string) => {
        const operation = pending.get(key);
        if (operation) await outbox.send(operation);
      },
      /** Moves the text of an unsent item back into its draft. */
      edit: (key: string) => {
        const operation = pending.get(key);
        if (operation?.kind !== "create_comment" && operation?.kind !== "create_discussion") return;
        outbox.discard(key);
        drafts.prepend(placeOf(operation), {
          topic: "topic" in operation.input ? operation.input.topic : "",
          text: operation.input.text,
        });
      },
      /** Discards an unsent item, or undoes a deletion that is not sent yet. */
      discard: (key: string) => outbox.discard(key),
    }),
    [drafts, outbox, pending],
  );
}

function placeOf(operation: Extract<Operation, { kind: "create_comment" | "create_discussion" }>): string {
  if (operation.kind === "create_discussion") return places.newDiscussion(operation.articleId);
  const parent = operation.input.parent_id ?? null;
  return parent === null ? places.comment(operation.discussionId) : places.reply(parent);
}

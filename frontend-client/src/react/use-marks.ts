import { useCallback, useSyncExternalStore } from "react";
import { noMarks, type Mark } from "../core/cache/marks.js";
import type { ArticleMark } from "../core/cache/read-marks.js";
import { useLiveConnection } from "./provider.js";

const none: ReadonlyMap<number, readonly Mark[]> = new Map();
const noArticles: readonly ArticleMark[] = [];

/** The user's marks of a discussion that the cache does not show yet. */
export function useMarks(discussionId: number): readonly Mark[] {
  const { readMarks } = useLiveConnection();
  const get = useCallback(() => readMarks.of(discussionId), [readMarks, discussionId]);
  return useSyncExternalStore(readMarks.subscribe, get, () => noMarks);
}

/** Those of all discussions. */
export function useAllMarks(): ReadonlyMap<number, readonly Mark[]> {
  const { readMarks } = useLiveConnection();
  return useSyncExternalStore(readMarks.subscribe, readMarks.all, () => none);
}

/** The articles that are being marked as read. */
export function useArticleMarks(): readonly ArticleMark[] {
  const { readMarks } = useLiveConnection();
  return useSyncExternalStore(readMarks.subscribe, readMarks.articles, () => noArticles);
}

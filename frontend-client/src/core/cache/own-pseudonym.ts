import type { QueryClient } from "@tanstack/react-query";
import { mapChanged } from "../events.js";
import type { Comment, Discussion } from "../generated/api.js";
import { keys, type User } from "./keys.js";
import type { Page } from "./queries.js";
import { cached, findDiscussion, replacePages } from "./sync.js";

/**
 * The first post on a pseudonymous article gives the user a pseudonym. The cached lists of this article in this community get it,
 * so that what the user wrote under it stays their own.
 */
export function learnPseudonym(client: QueryClient, user: User, written: Comment | Discussion): void {
  if (!written.author || written.author.id !== null) return;
  const { username } = written.author;
  const discussionId = "discussion_id" in written ? written.discussion_id : written.id;
  const home = "discussion_id" in written ? findDiscussion(client, user, discussionId) : written;
  for (const [query, subject, data] of cached(client, user)) {
    const other =
      subject.kind === "discussions" ? subject.scope.articleId : findDiscussion(client, user, subject.discussionId);
    const isHome = typeof other === "number" ? other === home?.article_id : sharesHome(other, home);
    const isThread = subject.kind !== "discussions" && subject.discussionId === discussionId;
    if (!isHome && !isThread) continue;
    const pages = mapChanged(data.pages, (page) => named(page, username, home?.community_id));
    if (pages !== data.pages) replacePages(query, { ...data, pages });
  }
  // Its event came before the pseudonym was known.
  if (home)
    void client.invalidateQueries({
      queryKey: keys.follows(user, { articleId: home.article_id, communityId: home.community_id }),
    });
}

function sharesHome(a: Discussion | undefined, b: Discussion | undefined): boolean {
  return a !== undefined && a.article_id === b?.article_id && a.community_id === b.community_id;
}

/** The page with the pseudonym of its viewer. A thread has no membership but that of its own community. */
function named<P extends Page>(page: P, pseudonym: string, communityId: number | undefined): P {
  const { viewer } = page;
  if (!viewer) return page;
  const memberships = mapChanged(viewer.memberships, (one) =>
    (communityId === undefined || one.community_id === communityId) && one.pseudonym !== pseudonym
      ? { ...one, pseudonym }
      : one,
  );
  return memberships === viewer.memberships ? page : { ...page, viewer: { ...viewer, memberships } };
}

import type { QueryClient } from "@tanstack/react-query";
import { mapChanged } from "../events.js";
import type { Comment, Discussion } from "../generated/api.js";
import { keys, type User } from "./keys.js";
import type { Page } from "./queries.js";
import { cached, findDiscussion, replacePages, summaries } from "./cached.js";

/**
 * The first post on a pseudonymous article gives the user a pseudonym. The cached lists of this article in this community get it,
 * so that what the user wrote under it stays their own. `written` must be a text of the user. A pseudonym that is known stays.
 */
export function learnPseudonym(client: QueryClient, user: User, written: Comment | Discussion): void {
  if (!written.author || written.author.id !== null) return;
  const { username } = written.author;
  const ofComment = "discussion_id" in written;
  const discussionId = ofComment ? written.discussion_id : written.id;
  const home = ofComment ? findDiscussion(client, user, written.discussion_id) : written;
  for (const [query, subject, data] of cached(client, user)) {
    const other =
      subject.kind === "discussions" ? subject.scope.articleId : findDiscussion(client, user, subject.discussionId);
    const isHome = typeof other === "number" ? other === home?.article_id : sharesHome(other, home);
    const isThread = subject.kind !== "discussions" && subject.discussionId === discussionId;
    if (!isHome && !isThread) continue;
    const pages = mapChanged(data.pages, (page) => named(page, username, home?.community_id));
    if (pages !== data.pages) replacePages(query, { ...data, pages });
  }
  for (const [query, { articleId, communityId }, snapshot] of summaries(client, user)) {
    const known = articleId === home?.article_id ? named(snapshot, username, communityId) : snapshot;
    if (communityId === home?.community_id && known !== snapshot) query.setState({ data: known });
  }
  // Its event came before the pseudonym was known.
  if (home)
    void client.invalidateQueries({
      queryKey: keys.follows(user, { articleId: home.article_id, communityId: home.community_id }),
    });
}

type Home = Pick<Discussion, "article_id" | "community_id">;

function sharesHome(a: Home | undefined, b: Home | undefined): boolean {
  return a !== undefined && a.article_id === b?.article_id && a.community_id === b.community_id;
}

/** The page with the pseudonym of its viewer. A thread has no membership but that of its own community. */
function named<P extends Pick<Page, "viewer">>(page: P, pseudonym: string, communityId: number | undefined): P {
  const { viewer } = page;
  if (!viewer) return page;
  const memberships = mapChanged(viewer.memberships, (one) =>
    (communityId === undefined || one.community_id === communityId) && one.pseudonym === null
      ? { ...one, pseudonym }
      : one,
  );
  return memberships === viewer.memberships ? page : { ...page, viewer: { ...viewer, memberships } };
}

"use client";
import { explain } from "@scicommons/discussions-client";
import {
  places,
  useDiscussion,
  useDiscussions,
  useRealtimeEvents,
  useRealtimeStatus,
  useUnread,
  useWatch,
} from "@scicommons/discussions-client/react";
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { announce } from "../lib/announce";
import type { DemoArticle, DemoUser } from "../lib/demo-api";
import { ownName, signatureIn } from "../lib/signs";
import { useKinds } from "../lib/use-kinds";
import type { Navigation } from "../lib/view";
import { useArrival } from "../lib/visits";
import { AccessNotice } from "./access-notice";
import { ArticleHeader } from "./article-header";
import { DiscussionList } from "./discussion-list";
import { LostDraft } from "./lost-draft";
import { Failure, Notice } from "./notice";

/** Without the network it is tried again, as the data is. */
const load = (): Promise<typeof import("./detail")> =>
  import("./detail").catch(() => new Promise((next) => setTimeout(next, 2_000)).then(load));
/** Fetched beside the data, which takes longer. */
const detail = load();
const NewDiscussion = lazy(() => detail.then((one) => ({ default: one.NewDiscussion })));
const Summary = lazy(() => detail.then((one) => ({ default: one.Summary })));
const Thread = lazy(() => detail.then((one) => ({ default: one.Thread })));

export interface ArticlePageProps extends Navigation {
  article: DemoArticle;
  user: DemoUser;
}

export function ArticlePage({ article: listed, user, view, go, link }: ArticlePageProps) {
  const communities = useKinds(listed.communities);
  const article = useMemo(() => ({ ...listed, communities }), [listed, communities]);
  useWatch(communities.filter(({ kind }) => kind === "public" || kind === "open").map(({ id }) => id));
  const communityId = article.communities.some((community) => community.id === view.community)
    ? view.community
    : undefined;
  const list = useDiscussions(article.id, { communityId });
  const { viewer, retry, discard, edit } = list;
  const unread = useUnread({ articleId: article.id });
  const status = useRealtimeStatus();
  const communityOf = (id: number) =>
    article.communities.find((one) => one.id === id) ?? {
      id,
      name: "this community",
      slug: "",
      kind: "public" as const,
    };
  const open = typeof view.discussion === "number" ? view.discussion : undefined;
  const opened = useDiscussion(open ?? 0, { enabled: open !== undefined && !list.isPending });
  const current = open === undefined ? undefined : opened.discussion;
  // The discussion stays selected when it may no longer be read, so that the page can say why.
  const [kept, setKept] = useState(current);
  if (current && current !== kept) setKept(current);
  const shown = current ?? (kept?.id === open ? kept : undefined);

  // The address of a discussion need not name its article.
  const elsewhere = shown && shown.article_id !== article.id ? shown.article_id : undefined;
  useEffect(() => {
    if (elsewhere !== undefined)
      go({ article: elsewhere, community: undefined, comment: view.comment }, { replace: true });
  }, [elsewhere, go, view.comment]);
  const place = view.discussion === "new" ? "New discussion" : shown?.topic;
  const { discussions: unreadDiscussions } = unread.totals;
  useEffect(() => {
    const count = unreadDiscussions > 0 ? `(${unreadDiscussions}) ` : "";
    document.title = `${count}${place ? `${place} · ` : ""}${article.title} · SciCommons`;
  }, [unreadDiscussions, place, article.title]);
  const before = useRef(view.discussion);
  useArrival(open === undefined && !list.isPending, () => {
    // Whoever comes back to the list is at the discussion that they left.
    const left = before.current === "new" ? ".overview .primary" : `.card[data-id="${before.current}"]`;
    if (view.discussion === undefined) document.querySelector<HTMLElement>(left)?.focus({ preventScroll: true });
  });
  useRealtimeEvents((event) => {
    if (event.type !== "new_discussion" || event.article_id !== article.id || !event.topic) return;
    if (event.author?.id !== viewer?.user_id) announce(`New discussion: ${event.topic}`);
  });

  const latestView = useRef(view);
  useEffect(() => {
    latestView.current = view;
    before.current = view.discussion;
  });
  const signature = useCallback(
    (id: number) => {
      const authors = list.discussions
        .filter((one) => one.community_id === id && one.id > 0)
        .map(({ author }) => author);
      return signatureIn(id, viewer, user.username, authors);
    },
    [list.discussions, viewer, user.username],
  );
  const isMember = (id: number) => viewer?.memberships.some((one) => one.community_id === id) ?? false;
  const own = article.communities.filter(({ id }) => isMember(id));
  const [first, ...others] = article.communities.filter(({ id, kind }) => isMember(id) || kind === "open");
  /** The communities whose summaries the user may read, of those that are shown. */
  const readable = list.isPending
    ? []
    : article.communities.filter(
        ({ id, kind }) =>
          (communityId === undefined || id === communityId) && (isMember(id) || kind === "public" || kind === "open"),
      );
  const isGuest = list.discussions.some((one) => !isMember(one.community_id));
  const newButton = useRef<HTMLAnchorElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const [failure, setFailure] = useState<string>();
  /** The communities with something unread, of those that are shown. */
  const withUnread = unread.byArticle.filter(
    (one) => one.article_id === article.id && (communityId === undefined || one.community_id === communityId),
  );
  const markAllRead = () => {
    setFailure(undefined);
    // The button goes.
    title.current?.focus({ preventScroll: true });
    Promise.all(withUnread.map((one) => unread.markArticleRead(article.id, one.community_id))).then(
      () => announce("Everything here is marked as read"),
      (error: unknown) => setFailure(`It was not marked as read: ${explain(error)}`),
    );
  };
  // New keeps the community that is open: the chip's, else that of the discussion.
  const into = communityId ?? shown?.community_id;
  const writeNew = { discussion: "new" as const, into };
  const edits = useMemo(
    () => ({
      onRetry: (key: string) => void retry(key).catch(() => undefined),
      onEdit: (key: string) => {
        edit(key);
        go({ discussion: "new" });
      },
      onDiscard: (key: string) => {
        discard(key);
        newButton.current?.focus();
      },
      link: (discussion: number) => link({ discussion }),
    }),
    [retry, edit, discard, go, link],
  );
  return (
    <main data-open={view.discussion !== undefined || undefined}>
      <ArticleHeader article={article} communityId={communityId} own={own} link={link} />
      <div className="columns">
        <section className="overview" aria-labelledby="overview-title">
          <Suspense fallback={null}>
            {readable.map((community) => (
              <Summary
                key={community.id}
                articleId={article.id}
                community={community}
                named={readable.length > 1}
                signature={signature(community.id)}
              />
            ))}
          </Suspense>
          <div className="row">
            <h2 id="overview-title" ref={title} tabIndex={-1}>
              Discussions
            </h2>
            {withUnread.length > 0 && (
              <button type="button" className="link" onClick={markAllRead}>
                Mark all as read
              </button>
            )}
            {first && (
              <a ref={newButton} className="primary" {...link(writeNew)}>
                New
              </a>
            )}
          </div>
          {failure && <Failure text={failure} />}
          {open === undefined && (
            <AccessNotice
              access={list.access}
              community={communityId ? communityOf(communityId).name : "this community"}
            />
          )}
          {list.isPending && <p className="muted">Loading…</p>}
          {list.error && list.access.state === "granted" && (
            <Notice
              text={`${list.discussions.length > 0 ? "More discussions" : "The discussions"} could not be loaded: ${explain(list.error)}`}
              what="discussions"
              onRetry={() => void list.refetch()}
            />
          )}
          {!list.isPending && !list.error && list.discussions.length === 0 && (
            <p className="muted">No discussion yet.</p>
          )}
          {status.state === "live" && isGuest && (
            <p className="hint">
              {list.isLive
                ? "You are reading as a guest, live."
                : "You are no member here: the list is refreshed once a minute."}
            </p>
          )}
          <DiscussionList
            discussions={list.discussions}
            current={view.discussion}
            communityName={(id) => (communityId === undefined ? communityOf(id).name : undefined)}
            ownName={(id) => ownName(signature(id))}
            {...edits}
          />
          {list.hasMore && (
            <button
              type="button"
              className="quiet"
              disabled={list.isFetchingMore}
              onClick={() => void list.fetchMore()}
            >
              Show older
            </button>
          )}
        </section>
        <div className="detail">
          <Suspense fallback={<p className="muted">Loading…</p>}>
            {view.discussion === "new" ? (
              first ? (
                <NewDiscussion
                  communities={[first, ...others]}
                  into={view.into ?? communityId}
                  signatureIn={signature}
                  onInto={(id) => go({ into: id }, { replace: true })}
                  onCancel={() => go({ discussion: undefined })}
                  articleId={article.id}
                  onSend={async (community_id, topic, text, key) => {
                    const discussion = await list.create({ community_id, topic, text }, { key });
                    announce("The discussion has begun");
                    // If the user has opened something else meanwhile, that stays open.
                    if (latestView.current.discussion === "new") go({ discussion: discussion.id });
                  }}
                />
              ) : (
                !list.isPending && (
                  <>
                    <Notice text="You are no member of a community of this article." />
                    <LostDraft place={places.newDiscussion(article.id)} />
                  </>
                )
              )
            ) : shown ? (
              <Thread
                key={shown.id}
                discussion={shown}
                viewer={viewer}
                community={communityOf(shown.community_id)}
                username={user.username}
                linked={view.comment}
                update={list.update}
                remove={list.remove}
                vote={list.vote}
                undo={discard}
                link={link}
              />
            ) : open !== undefined && opened.error ? (
              opened.access.state === "denied" ? (
                <Notice text="This discussion is not there, or not for you to see." />
              ) : (
                <Notice
                  text={`This discussion could not be loaded: ${explain(opened.error)}`}
                  what="discussion"
                  onRetry={() => void opened.refetch()}
                />
              )
            ) : open !== undefined ? (
              <p className="muted">Loading…</p>
            ) : (
              <p className="muted empty">Choose a discussion to read it.</p>
            )}
          </Suspense>
        </div>
      </div>
    </main>
  );
}

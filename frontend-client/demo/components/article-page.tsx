"use client";
import { places, useDiscussion, useDiscussions, useRealtimeStatus } from "@scicommons/discussions-client/react";
import type { DemoArticle, DemoUser } from "../lib/demo-api";
import type { View } from "../lib/view";
import { AccessNotice } from "./access-notice";
import { Composer } from "./composer";
import { DiscussionList } from "./discussion-list";
import { Thread, UNDO_MS } from "./thread";
import { useEffect, useRef, useState } from "react";

export interface ArticlePageProps {
  article: DemoArticle;
  user: DemoUser;
  view: View;
  setView: (change: Partial<View>) => void;
}

export function ArticlePage({ article, user, view, setView }: ArticlePageProps) {
  const communityId = article.communities.some((community) => community.id === view.community)
    ? view.community
    : undefined;
  const list = useDiscussions(article.id, { communityId });
  const status = useRealtimeStatus();
  const name = (id: number) => article.communities.find((community) => community.id === id)?.name ?? "this community";
  const open = typeof view.discussion === "number" ? view.discussion : undefined;
  const opened = useDiscussion(open ?? 0, { enabled: open !== undefined && !list.isPending });
  const current = open === undefined ? undefined : opened.discussion;
  // The discussion stays selected when it may no longer be read, so that the page can say why.
  const [kept, setKept] = useState(current);
  if (current && current !== kept) setKept(current);
  const shown = current ?? (kept?.id === open ? kept : undefined);
  const latestView = useRef(view);
  useEffect(() => {
    latestView.current = view;
  });
  const writable =
    list.viewer?.memberships.filter((membership) =>
      article.communities.some((one) => one.id === membership.community_id),
    ) ?? [];
  return (
    <main data-open={view.discussion !== undefined || undefined}>
      <header className="article">
        <p className="eyebrow">Article</p>
        <h1>{article.title}</h1>
        <nav aria-label="Community">
          {[undefined, ...article.communities].map((community) => (
            <button
              key={community?.id ?? 0}
              type="button"
              className="chip"
              aria-pressed={communityId === community?.id}
              onClick={() => setView({ community: community?.id, discussion: undefined })}
            >
              {community?.name ?? "All"}
              {community && community.kind !== "public" && <span className="kind">{community.kind}</span>}
            </button>
          ))}
        </nav>
      </header>
      <div className="columns">
        <section className="overview" aria-labelledby="overview-title">
          <div className="row">
            <h2 id="overview-title">Discussions</h2>
            {writable.length > 0 && (
              <button type="button" className="primary" onClick={() => setView({ discussion: "new" })}>
                New
              </button>
            )}
          </div>
          {open === undefined && (
            <AccessNotice access={list.access} community={communityId ? name(communityId) : "this community"} />
          )}
          {list.isPending && <p className="muted">Loading…</p>}
          {list.error && list.access.state === "granted" && list.discussions.length === 0 && (
            <p role="alert" className="notice">
              The server cannot be reached.{" "}
              <button type="button" className="link" onClick={() => void list.refetch()}>
                Try again
              </button>
            </p>
          )}
          {!list.isPending && !list.error && list.discussions.length === 0 && (
            <p className="muted">No discussion yet.</p>
          )}
          {status.state === "live" && !list.isLive && list.discussions.length > 0 && (
            <p className="hint">You are no member here: the list is refreshed once a minute.</p>
          )}
          <DiscussionList
            discussions={list.discussions}
            current={view.discussion}
            communityName={name}
            showCommunity={communityId === undefined}
            myName={user.username}
            onOpen={(discussion) => setView({ discussion })}
            onRetry={(key) => void list.retry(key).catch(() => undefined)}
            onDiscard={list.discard}
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
          {view.discussion === "new" && writable.length > 0 ? (
            <NewDiscussion
              communities={writable.map((membership) => ({
                id: membership.community_id,
                name: name(membership.community_id),
              }))}
              initial={communityId}
              onCancel={() => setView({ discussion: undefined })}
              articleId={article.id}
              onSend={async (community_id, topic, text, key) => {
                const discussion = await list.create({ community_id, topic, text }, { key });
                // If the user has opened something else meanwhile, that stays open.
                if (latestView.current.discussion === "new") setView({ discussion: discussion.id });
              }}
            />
          ) : shown ? (
            <Thread
              key={shown.id}
              discussion={shown}
              viewer={list.viewer}
              community={name(shown.community_id)}
              myName={user.username}
              update={list.update}
              remove={(id) => list.remove(id, { undoMs: UNDO_MS })}
              undo={list.discard}
              onBack={() => setView({ discussion: undefined })}
            />
          ) : open !== undefined && opened.error ? (
            <div role="alert" className="notice">
              <strong>This discussion is not there, or not for you to see.</strong>
            </div>
          ) : (
            <p className="muted empty">Choose a discussion to read it.</p>
          )}
        </div>
      </div>
    </main>
  );
}

interface NewDiscussionProps {
  communities: { id: number; name: string }[];
  initial: number | undefined;
  articleId: number;
  onSend: (community: number, topic: string, text: string, key: string | undefined) => Promise<void>;
  onCancel: () => void;
}

function NewDiscussion({ articleId, communities, initial, onSend, onCancel }: NewDiscussionProps) {
  const [community, setCommunity] = useState(initial ?? communities[0]?.id ?? 0);
  return (
    <section className="thread" aria-labelledby="new-title">
      <h2 id="new-title">New discussion</h2>
      <label className="field">
        Community
        <select value={community} onChange={(event) => setCommunity(Number(event.target.value))}>
          {communities.map((one) => (
            <option key={one.id} value={one.id}>
              {one.name}
            </option>
          ))}
        </select>
      </label>
      <Composer
        place={places.newDiscussion(articleId)}
        label="Text"
        action="Start discussion"
        withTopic
        focus
        wait
        onCancel={onCancel}
        onSend={(text, topic, key) => onSend(community, topic, text, key)}
      />
    </section>
  );
}

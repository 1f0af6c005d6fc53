"use client";
import { RealtimeProvider } from "@scicommons/discussions-client/react";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { configFor, demoDirectory, type DemoDirectory } from "../lib/demo-api";
import { useView } from "../lib/view";
import { useVisits } from "../lib/visits";
import { Announcements } from "./announcements";
import { ArticlePage } from "./article-page";
import { InboxButton } from "./inbox-button";
import { Members } from "./members";
import { Shortcuts } from "./shortcuts";
import { SignedOut } from "./signed-out";
import { StatusBadge } from "./status-badge";

export function Demo() {
  const directory = useQuery({
    queryKey: ["demo"],
    queryFn: ({ signal }) => demoDirectory(signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (directory.isPending) return <Message>Loading…</Message>;
  if (directory.error) {
    return (
      <Message>
        The server cannot be reached. Is it running?{" "}
        <button type="button" className="link" onClick={() => void directory.refetch()}>
          Try again
        </button>
      </Message>
    );
  }
  if (!directory.data?.users.length || !directory.data.articles.length) {
    return (
      <Message>
        This server has no demo. Start it with <code>make run</code>.
      </Message>
    );
  }
  return <SignedIn directory={directory.data} />;
}

function Message({ children }: { children: React.ReactNode }) {
  return (
    <main className="message">
      <h1>SciCommons discussions</h1>
      <p>{children}</p>
    </main>
  );
}

function SignedIn({ directory }: { directory: DemoDirectory }) {
  const navigation = useView();
  const { view, go } = navigation;
  useVisits();
  const user = directory.users.find((one) => one.id === view.user) ?? directory.users[0];
  const article = directory.articles.find((one) => one.id === view.article) ?? directory.articles[0];
  const config = useMemo(() => configFor(user?.id ?? 0), [user?.id]);
  // The address says where one is from the start.
  const isWhole = view.user !== undefined && view.article !== undefined;
  useEffect(() => {
    if (!isWhole)
      go({ user: user?.id, article: article?.id, comment: view.comment, into: view.into }, { replace: true });
  }, [isWhole, user?.id, article?.id, view.comment, view.into, go]);
  if (!user || !article) return null;
  return (
    <RealtimeProvider config={config} user={user.id}>
      <a className="skip" href="#content">
        Skip to the discussions
      </a>
      <div className="bars">
        <header className="top">
          <p className="brand">
            Sci<span>Commons</span>
          </p>
          <StatusBadge />
          <div className="controls">
            <label>
              <span>Article</span>
              <select
                className="article-select"
                value={article.id}
                onChange={(event) =>
                  go({ article: Number(event.target.value), community: undefined, discussion: undefined })
                }
              >
                {directory.articles.map((one) => (
                  <option key={one.id} value={one.id}>
                    {one.title}
                  </option>
                ))}
              </select>
            </label>
            <label>
              <span>You are</span>
              <select
                value={user.id}
                onChange={(event) => go({ user: Number(event.target.value), discussion: undefined })}
              >
                {directory.users.map((one) => (
                  <option key={one.id} value={one.id}>
                    {one.username}
                  </option>
                ))}
              </select>
            </label>
            <InboxButton articles={directory.articles} view={view} link={navigation.link} />
            <Shortcuts />
            <Members users={directory.users} communities={article.communities} me={user.id} />
          </div>
        </header>
        <SignedOut username={user.username} />
      </div>
      <div id="content" tabIndex={-1}>
        <ArticlePage key={`${user.id}-${article.id}`} article={article} user={user} {...navigation} />
      </div>
      <Announcements />
    </RealtimeProvider>
  );
}

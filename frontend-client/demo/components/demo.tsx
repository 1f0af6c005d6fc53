"use client";
import { RealtimeProvider } from "@scicommons/discussions-client/react";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { configFor, demoDirectory, type DemoDirectory } from "../lib/demo-api";
import { useView } from "../lib/view";
import { ArticlePage } from "./article-page";
import { Members } from "./members";
import { StatusBadge } from "./status-badge";

export function Demo() {
  const directory = useQuery({
    queryKey: ["demo"],
    queryFn: ({ signal }) => demoDirectory(signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (directory.isPending) return <Message>Loading…</Message>;
  if (directory.error) return <Message>The server cannot be reached. Is it running?</Message>;
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
  const [view, setView] = useView();
  const user = directory.users.find((one) => one.id === view.user) ?? directory.users[0];
  const article = directory.articles.find((one) => one.id === view.article) ?? directory.articles[0];
  const config = useMemo(() => configFor(user?.id ?? 0), [user?.id]);
  if (!user || !article) return null;
  return (
    <RealtimeProvider config={config} user={user.id}>
      <a className="skip" href="#content">
        Skip to the discussions
      </a>
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
                setView({ article: Number(event.target.value), community: undefined, discussion: undefined })
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
              onChange={(event) => setView({ user: Number(event.target.value), discussion: undefined })}
            >
              {directory.users.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.username}
                </option>
              ))}
            </select>
          </label>
          <Members users={directory.users} communities={article.communities} me={user.id} />
        </div>
      </header>
      <div id="content" tabIndex={-1}>
        <ArticlePage
          key={`${user.id}-${article.id}`}
          article={article}
          user={user}
          config={config}
          view={view}
          setView={setView}
        />
      </div>
    </RealtimeProvider>
  );
}

import type { MouseEvent } from "react";
import type { DemoArticle } from "../lib/demo-api";
import type { View } from "../lib/view";

export interface ArticleHeaderProps {
  article: DemoArticle;
  communityId: number | undefined;
  link: (change: Partial<View>) => { href: string; onClick: (event: MouseEvent) => void };
}

/** The article's title, and a link for each of its communities. */
export function ArticleHeader({ article, communityId, link }: ArticleHeaderProps) {
  return (
    <header className="article">
      <p className="eyebrow">Article</p>
      <h1>{article.title}</h1>
      <nav aria-label="Community">
        {[undefined, ...article.communities].map((community) => (
          <a
            key={community?.id ?? 0}
            className="chip"
            aria-current={communityId === community?.id ? "true" : undefined}
            {...link({ community: community?.id, discussion: undefined })}
          >
            {community?.name ?? "All"}
            {community && community.kind !== "public" && <span className="kind">{community.kind}</span>}
          </a>
        ))}
      </nav>
    </header>
  );
}

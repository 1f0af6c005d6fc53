import type { MouseEvent } from "react";
import type { DemoArticle, DemoCommunity } from "../lib/demo-api";
import type { View } from "../lib/view";
import { FollowMenu } from "./follow-menu";

export interface ArticleHeaderProps {
  article: DemoArticle;
  communityId: number | undefined;
  /** The communities in which the user is a member. */
  own: readonly DemoCommunity[];
  link: (change: Partial<View>) => { href: string; onClick: (event: MouseEvent) => void };
}

/** The article's title, and a link for each of its communities. */
export function ArticleHeader({ article, communityId, own, link }: ArticleHeaderProps) {
  const followable = own.filter(({ id }) => communityId === undefined || id === communityId);
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
      {followable.length > 0 && (
        <div className="follows">
          {followable.map(({ id, name }) => (
            <span key={id}>
              {own.length > 1 && <span className="muted">{name}: </span>}
              <FollowMenu
                thing={{ articleId: article.id, communityId: id }}
                what={own.length > 1 ? `this article in ${name}` : "this article"}
              />
            </span>
          ))}
        </div>
      )}
    </header>
  );
}

"use client";
import { RealtimeProvider, useDiscussions } from "@scicommons/discussions-client/react";
import type { ReactNode } from "react";

const api = { baseUrl: "https://live.example.org", token: getAccessToken };

// Render this below your QueryClientProvider.
export const Live = ({ user, children }: { user: { id: number } | null; children: ReactNode }) => (
  <RealtimeProvider config={api} user={user?.id ?? null}>
    {children}
  </RealtimeProvider>
);
export function Discussions({ articleId, communityId }: { articleId: number; communityId: number }) {
  const { discussions } = useDiscussions(articleId, { communityId });
  return (
    <ul>
      {discussions.map((one) => (
        <li key={one.key}>{one.topic === null ? <em>Deleted</em> : `${one.topic} (${one.comment_count})`}</li>
      ))}
    </ul>
  );
}

/** You write this function. It returns the access token; with `refresh`, the server refused the last one. */
declare function getAccessToken(request: { refresh: boolean }): Promise<string | null>;

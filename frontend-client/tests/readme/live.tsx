"use client";
import type { ApiConfig } from "@scicommons/discussions-client";
import { RealtimeProvider, useDiscussions } from "@scicommons/discussions-client/react";
import type { ReactNode } from "react";

// The session cookie says who asks. With access tokens, write `token: getAccessToken` instead (see ApiConfig).
const api: ApiConfig = { baseUrl: process.env.NEXT_PUBLIC_DISCUSSIONS_URL ?? "", credentials: "include" };

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

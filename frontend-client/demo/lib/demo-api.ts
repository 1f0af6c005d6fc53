import type { ApiConfig } from "@scicommons/discussions-client";

/** The demo's sign-in. The server has these routes in demo mode only. */
export interface DemoUser {
  id: number;
  username: string;
}

export interface DemoCommunity {
  id: number;
  name: string;
  slug: string;
  kind: "public" | "private" | "hidden" | "open";
}

export interface DemoArticle {
  id: number;
  title: string;
  slug: string;
  communities: DemoCommunity[];
}

export interface DemoDirectory {
  users: DemoUser[];
  articles: DemoArticle[];
}

export async function demoDirectory(signal: AbortSignal): Promise<DemoDirectory | null> {
  const response = await fetch("/demo", { signal });
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return (await response.json()) as DemoDirectory;
}

async function post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: signal ?? null,
  });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response;
}

export async function setMembership(userId: number, communityId: number, role: string | null): Promise<void> {
  await post("/demo/membership", { user_id: userId, community_id: communityId, role });
}

/** The configuration for calls as this demo user. It fetches the token at the first call, and again when the server refuses it. */
export function configFor(userId: number): ApiConfig {
  let token: Promise<string> | undefined;
  return {
    token: ({ refresh, signal }) => {
      if (!token || refresh) {
        token = post("/demo/token", { user_id: userId }, refresh ? signal : undefined)
          .then((response) => response.json() as Promise<{ token: string }>)
          .then((answer) => answer.token);
        token.catch(() => (token = undefined));
      }
      return token;
    },
  };
}

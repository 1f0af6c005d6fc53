import { beginSession, callOptions } from "@scicommons/discussions-client";

// Exchanges an access token for the session cookie. Call it when the user has logged in.
export const signIn = (token: string) =>
  beginSession(callOptions({ baseUrl: process.env.NEXT_PUBLIC_DISCUSSIONS_URL ?? "", credentials: "include", token }));

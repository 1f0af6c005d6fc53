import { callOptions, createLogin, logIn, logOut, refreshTokens, type ApiConfig } from "@scicommons/discussions-client";

const server: ApiConfig = { baseUrl: process.env.NEXT_PUBLIC_DISCUSSIONS_URL ?? "" };
const login = createLogin({ refresh: (refresh) => refreshTokens({ refresh }, callOptions(server)) });

// For the provider's `config`, or for `configureApi`.
export const config: ApiConfig = { ...server, token: login.token };

export const signIn = async (username: string, password: string) => {
  const tokens = await logIn({ username, password }, callOptions(server));
  login.begin(tokens);
  return tokens.user;
};

export const signOut = async () => {
  const refresh = login.end();
  if (refresh) await logOut({ refresh }, callOptions(server));
};

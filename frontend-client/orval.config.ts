import { defineConfig } from "orval";

/** The input is the server's document (`discussions openapi`). OPENAPI_FILE sets another one. */
const input = { target: process.env["OPENAPI_FILE"] ?? "../openapi/openapi.json" };
const mutator = { path: "./src/core/api/request.ts", name: "request", extension: ".js" };
const shared = { mode: "single", httpClient: "fetch" } as const;
const fetch = { includeHttpResponseReturnType: false };

export default defineConfig({
  /** Types and functions, without a framework. */
  api: {
    input,
    output: { ...shared, target: "./src/core/generated/api.ts", client: "fetch", override: { mutator, fetch } },
  },
  /** TanStack Query hooks. */
  query: {
    input,
    output: {
      ...shared,
      target: "./src/react/generated/query.ts",
      client: "react-query",
      override: { mutator, fetch, query: { version: 5, signal: true, useInfinite: false } },
    },
  },
});

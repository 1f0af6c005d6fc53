import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** The README's code imports the package by its name. The tests run it with the source, so that they need no build. */
const ownName = {
  "@scicommons/discussions-client/react": path("src/react/index.ts"),
  "@scicommons/discussions-client/markdown": path("src/markdown/index.ts"),
  "@scicommons/discussions-client": path("src/index.ts"),
};

const oldestQuery = "tests/oldest/node_modules/@tanstack/react-query";

/** The lowest versions of the declared peer ranges. `unit` runs with the newest ones. */
const oldest = [
  ...Object.entries(ownName).map(([find, replacement]) => ({ find, replacement })),
  { find: "@tanstack/react-query", replacement: path(`${oldestQuery}/build/modern/index.js`) },
  { find: /^react$/, replacement: path("tests/oldest/react.js") },
  { find: /^react-dom(?=$|\/)/, replacement: path("tests/oldest/node_modules/react-dom") },
  { find: /^react(?=\/)/, replacement: path("tests/oldest/node_modules/react") },
];

/** Two Next.js applications are built, which takes longest. What is begun last must not take long. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const builds = (file: TestSpecification) => file.moduleId.includes("/browser/next-");
    return [...sorted.filter(builds), ...sorted.filter((file) => !builds(file))];
  }
}

/** `unit` and `oldest` need nothing else. `server` and `browser` start the server of DISCUSSIONS_BIN on databases that they create at DATABASE_URL. */
export default defineConfig({
  test: {
    maxWorkers: "100%",
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        resolve: { alias: ownName },
        test: { name: "unit", pool: "vmThreads", include: ["tests/unit/**/*.test.{ts,tsx}"] },
      },
      {
        resolve: { alias: oldest },
        test: {
          name: "oldest",
          pool: "vmThreads",
          include: ["tests/unit/**/*.test.tsx", "tests/oldest/*.test.ts"],
          // These import React by themselves.
          server: { deps: { inline: [/react-query/, /react-markdown/] } },
        },
      },
      {
        test: {
          name: "server",
          include: ["tests/server/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "browser",
          include: ["tests/browser/**/*.test.ts"],
          testTimeout: 90_000,
          hookTimeout: 90_000,
        },
      },
    ],
  },
});

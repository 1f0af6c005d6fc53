import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

/** `npm run typecheck` compiles these files. This test compares them with the README. */
test.each(["live", "server", "write"])("the README shows the compiled file: %s.tsx", (name) => {
  expect(read("README.md")).toContain(`\`\`\`tsx\n${read(`tests/readme/${name}.tsx`).trim()}\n\`\`\``);
});

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

/** `npm run typecheck` compiles these files; here they are what the README shows. */
test.each(["live", "server", "write"])("the README's code is the file that is compiled: %s.tsx", (name) => {
  expect(read("README.md")).toContain(`\`\`\`tsx\n${read(`tests/readme/${name}.tsx`).trim()}\n\`\`\``);
});

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const out = fileURLToPath(new URL("../../demo/out", import.meta.url));

/** The most that the first view may load, compressed. At 400 kbit/s, 320 kB take 6.4 s. */
const BUDGET_KB = 320;

test("the demo's first view keeps to its budget", async () => {
  const html = await readFile(join(out, "index.html"), "utf8");
  // No browser that the package supports loads these.
  const page = html.replace(/<script[^>]* noModule[^>]*>/g, "");
  const files = (await readdir(out, { recursive: true })).filter(
    (file) => /\.(js|css)$/.test(file) && page.includes(file.replace(/\\/g, "/")),
  );
  expect(files.length).toBeGreaterThan(2);
  const sizes = await Promise.all(files.map(async (file) => gzipSync(await readFile(join(out, file))).length));
  expect(sizes.reduce((sum, size) => sum + size, 0) / 1000).toBeLessThan(BUDGET_KB);
});

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const out = fileURLToPath(new URL("../../demo/out", import.meta.url));

/** The most that the list may load, compressed. At 400 kbit/s, 210 kB take 4.2 s. */
const LIST_KB = 210;
/** The most that the page may load in all: with a discussion, which has the renderer of texts, and with the inbox. */
const ALL_KB = 345;

test("the demo's first view keeps to its budget, and so does all that is loaded later", async () => {
  const html = await readFile(join(out, "index.html"), "utf8");
  const isIn = (page: string, file: string) => page.includes(file.replace(/\\/g, "/"));
  // No browser that the package supports loads these.
  const old = (html.match(/<script[^>]* noModule[^>]*>/g) ?? []).join();
  const files = (await readdir(out, { recursive: true })).filter(
    (file) => /chunks.*\.(js|css)$/.test(file) && !isIn(old, file),
  );
  const first = files.filter((file) => isIn(html, file));
  const size = async (of: string[]) => {
    const sizes = await Promise.all(of.map(async (file) => gzipSync(await readFile(join(out, file))).length));
    return sizes.reduce((sum, one) => sum + one, 0) / 1000;
  };
  expect([first.length, files.length - first.length].every((count) => count > 1)).toBe(true);
  expect(await size(first)).toBeLessThan(LIST_KB);
  expect(await size(files)).toBeLessThan(ALL_KB);
});

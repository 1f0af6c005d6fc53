import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";

/** What axe finds on the page, when what is fading in is there. */
export async function violations(page: Page): Promise<{ id: string; nodes: string[] }[]> {
  await page.evaluate(() =>
    Promise.all(
      document
        .getAnimations()
        .filter(({ effect }) => effect?.getComputedTiming().iterations !== Infinity)
        .map(({ finished }) => finished.catch(() => undefined)),
    ).then(() => undefined),
  );
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  return page.evaluate(async () => {
    type Found = { violations: { id: string; nodes: { html: string }[] }[] };
    const { axe } = window as never as { axe: { run(): Promise<Found> } };
    return (await axe.run()).violations.map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => node.html) }));
  });
}

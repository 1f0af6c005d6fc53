import { expect, test } from "vitest";
import { person } from "../support/browser.js";
import { Server } from "../support/server.js";

const folder = process.env["SCREENSHOTS"];
const desk = { width: 1280, height: 1200 };

/** Takes the screenshots of the READMEs: `SCREENSHOTS=../docs/images npm run test:browser`. */
test.runIf(folder).each([
  { name: "light", colorScheme: "light", viewport: desk, query: "discussion=1" },
  { name: "dark", colorScheme: "dark", viewport: desk, query: "discussion=1" },
  { name: "phone", colorScheme: "light", viewport: { width: 390, height: 844 }, query: "discussion=1" },
] as const)("a picture of the demo: $name", async ({ name, query, ...options }) => {
  const server = await Server.create();
  const one = await person(options);
  try {
    const page = await one.context.newPage();
    await page.goto(`${server.url}/?user=1&${query}`);
    await page.locator('[data-state="live"]').waitFor();
    await page.getByLabel("Write a comment").waitFor();
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${await server.token(3)}` };
    const body = JSON.stringify({ text: "With the trial-level data it drops to **0.49**.", parent_id: 2 });
    const response = await fetch(`${server.url}/discussions/1/comments`, { method: "POST", headers, body });
    expect(response.status).toBe(201);
    await page.getByText("With the trial-level data").waitFor();
    // On a phone it is further down.
    if (name === "phone") await page.getByRole("button", { name: "1 new" }).click();
    await page.waitForTimeout(700);
    await page.screenshot({ path: `${folder}/demo-${name}.png` });

    if (name !== "light") return;
    const say = (text: string) =>
      fetch(`${server.url}/discussions/1/comments`, {
        method: "POST",
        headers,
        body: JSON.stringify({ text, parent_id: 1 }),
      });
    await say("Which variances did you take, those of table 2?");
    await say("@ada, the script is in the wiki now.");
    await page.getByRole("button", { name: "Inbox 2 unread" }).click();
    await page.locator(".notification").nth(1).waitFor();
    await page.waitForTimeout(700);
    await page.screenshot({ path: `${folder}/inbox-${name}.png` });
  } finally {
    await one.close();
    await server.close();
  }
});

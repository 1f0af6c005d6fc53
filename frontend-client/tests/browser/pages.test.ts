import { afterAll, beforeAll, expect, test } from "vitest";
import { person, type Person } from "../support/browser.js";
import { Server } from "../support/server.js";

let server: Server;
let reader: Person;

beforeAll(async () => {
  server = await Server.create();
  reader = await person();
});
afterAll(async () => {
  await reader.close();
  await server.close();
});

/** Opens a page and notes what the console says of its Content-Security-Policy. */
async function open(path: string) {
  const page = await reader.context.newPage();
  page.setDefaultTimeout(30_000);
  const said: string[] = [];
  page.on("console", (message) => {
    if (/content security policy/i.test(message.text())) said.push(message.text());
  });
  const response = await page.goto(server.url + path);
  return { page, said, headers: response?.headers() ?? {} };
}

test("the page works under its Content-Security-Policy, which blocks nothing of it", async () => {
  const { page, said, headers } = await open("/?user=1&discussion=1");
  expect(headers["content-security-policy"]).toMatch(/script-src 'self'( 'sha256-[^']+')+;/);
  await page.locator('[data-state="live"]').waitFor();
  await page.getByLabel("Write a comment").fill("A formula: $\\sum_{i=1}^n x_i^2$");
  await page.getByRole("button", { name: "Comment", exact: true }).click();
  await page.locator(".comment .katex").first().waitFor();
  expect(said).toEqual([]);
});

test("the page of the document works likewise", async () => {
  const { page, said, headers } = await open("/docs/");
  expect(headers["content-security-policy"]).toContain("script-src 'self';");
  await page.getByText("/discussions/{id}/comments").first().waitFor();
  await page.locator(".opblock-summary-path").first().click();
  await page.locator(".opblock-body").first().waitFor();
  expect(said).toEqual([]);
});

test("a script that is put into the page does not run, and the page does not open in a frame", async () => {
  const { page, said } = await open("/?user=1&discussion=1");
  await page.locator('[data-state="live"]').waitFor();
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.stolen = true";
    document.body.append(script);
    return "stolen" in window;
  });
  expect(ran).toBe(false);
  await page.evaluate(() => {
    const frame = document.createElement("iframe");
    frame.src = location.href;
    document.body.append(frame);
  });
  await expect.poll(() => said.filter((line) => line.includes("frame-ancestors")).length).toBeGreaterThan(0);
  expect(said.some((line) => /inline script/.test(line))).toBe(true);
});

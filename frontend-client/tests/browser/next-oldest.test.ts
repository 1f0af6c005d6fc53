import { afterAll, beforeAll, expect, test } from "vitest";
import { NextApp, NextSite } from "../support/next-app.js";
import { ADA, GRACE, Writer } from "../support/pages.js";
import { Server, until } from "../support/server.js";

let site: NextSite;

beforeAll(async () => {
  const app = await NextApp.create("oldest");
  const server = await Server.create({ ALLOWED_ORIGINS: app.url });
  site = new NextSite(app, server);
  await app.build(server.url);
  await app.start(server.url);
}, 150_000);
afterAll(async () => {
  await site?.leave();
  await site?.app.close();
  await site?.server.close();
});

test("with Next.js 14 the HTML has the discussions, hydration is silent, and what begins appears", async () => {
  expect(await site.html("/community/1")).toContain("Where is the raw data?");
  expect(await site.html("/community/2")).not.toContain("Plan for our replication");
  expect(await site.html("/community/2", ADA)).toContain("Plan for our replication");

  const ada = await site.signedIn(ADA);
  const calls = site.callsOf(ada.context);
  const list = await site.visit(ada, "/community/2");
  await until("the page polls", () => calls.some(({ call }) => call === "GET /poll"));
  const grace = await Writer.as(site.server, GRACE);
  const discussion = { community_id: 2, topic: "Seen without a second fetch", text: "A question." };
  await grace.send("POST", "/articles/1/discussions", discussion);
  await list.getByText(`${discussion.topic} (`).waitFor();
  expect(calls.filter(({ call }) => call === "GET /articles/1/discussions")).toEqual([]);

  const thread = await site.visit(ada, "/discussion/1");
  // What is typed before hydration would be lost, as in every page that a server renders.
  await thread.waitForFunction(() =>
    Object.keys(document.querySelector("textarea") ?? {}).some((name) => name.startsWith("__reactProps")),
  );
  await thread.getByLabel("Write a comment").fill("The power is $1 - \\beta$.");
  await thread.getByRole("button", { name: "Comment", exact: true }).click();
  await thread.getByRole("article").filter({ hasText: "The power is" }).locator(".katex").first().waitFor();
  expect(site.complaints).toEqual([]);
});

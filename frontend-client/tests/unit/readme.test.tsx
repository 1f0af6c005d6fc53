// @vitest-environment happy-dom
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { readFileSync } from "node:fs";
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, expect, test, vi } from "vitest";
import { settle } from "../support/fake-environment.js";
import { FakeServer } from "../support/fake-server.js";
import { coded } from "../support/model.js";
import "../support/react.js";

const folder = `${import.meta.dirname}/..`;
const readme = readFileSync(`${folder}/../README.md`, "utf8");

afterEach(() => vi.unstubAllGlobals());

test.each(["inbox", "live", "log-in", "mention", "providers", "server", "sign-in", "unread", "write"])(
  "the README shows the compiled file: %s.tsx",
  (name) => {
    expect(readme).toContain("```tsx\n" + readFileSync(`${folder}/readme/${name}.tsx`, "utf8") + "```");
  },
);

test("the README's sign-in exchanges the token for a cookie", async () => {
  const requests: { url: string; init: RequestInit }[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    requests.push({ url, init });
    return Response.json({ user: { id: 1, username: "ada", avatar_url: null }, communities: [] });
  });
  const { signIn } = await import("../readme/sign-in.js");
  expect((await signIn("a-token")).user.username).toBe("ada");
  const [{ url, init } = { url: "", init: {} }] = requests;
  expect([url, init.method, init.credentials]).toEqual(["/session", "POST", "include"]);
  expect(new Headers(init.headers).get("authorization")).toBe("Bearer a-token");
});

test("the README's log-in by password keeps the tokens", async () => {
  localStorage.clear();
  const requests: [string, string | null][] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    requests.push([url, new Headers(init.headers).get("authorization")]);
    if (url === "/auth/logout") return new Response(null, { status: 204 });
    const count = requests.length;
    return Response.json({
      access: `access ${count}`,
      refresh: "r",
      expires_in: 600,
      user: { id: 1, username: "ada" },
    });
  });
  const { config, signIn, signOut } = await import("../readme/log-in.js");
  const token = async (refresh: boolean) => typeof config.token === "function" && config.token({ refresh });
  expect((await signIn("ada", "secret")).username).toBe("ada");
  expect([await token(false), await token(true)]).toEqual(["access 1", "access 2"]);
  await signOut();
  expect(await token(false)).toBe(null);
  expect(requests).toEqual(["/auth/login", "/auth/refresh", "/auth/logout"].map((path) => [path, null]));
});

test("the README's code runs: discussions appear live, a comment is sent, a refusal says why and can be edited", async () => {
  localStorage.clear();
  const server = new FakeServer();
  // The fake server knows no cookies, so a token stands for them.
  vi.stubGlobal("fetch", (input: string, init: RequestInit = {}) => {
    const headers = new Headers(init.headers);
    headers.set("authorization", init.credentials === "include" ? "Bearer user-1" : "Bearer anonymous");
    return server.fetch(input, { ...init, headers });
  });
  const grace = { id: 2, username: "grace", avatar_url: null };
  server.model.createDiscussion("Batch effects", "text", grace);
  const { Discussions, Live } = await import("../readme/live.js");
  const { Thread } = await import("../readme/write.js");
  const container = document.body.appendChild(document.createElement("div"));
  const root = createRoot(container);
  const queryClient = new QueryClient();
  const show = async (user: { id: number } | null) => {
    await act(async () =>
      root.render(
        <QueryClientProvider client={queryClient}>
          <Live user={user}>
            <Discussions articleId={1} communityId={7} />
            <Thread discussionId={1} />
          </Live>
        </QueryClientProvider>,
      ),
    );
    await act(settle);
  };
  const press = async (name: string) => {
    const button = [...container.querySelectorAll("button")].find((one) => one.textContent === name);
    await act(async () => button?.click());
    await act(settle);
  };
  const field = () => container.querySelector("textarea") as HTMLTextAreaElement;
  const type = (text: string) =>
    act(async () => {
      Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")?.set?.call(field(), text);
      field().dispatchEvent(new Event("input", { bubbles: true }));
    });
  const happen = async (change: () => unknown) => {
    change();
    server.deliver();
    await act(settle);
  };
  await show({ id: 1 });
  expect(container.textContent).toContain("Batch effects (0)");
  expect(container.textContent).toContain("No comments yet.");
  await happen(() => server.model.createDiscussion("Table 2", "text", grace));
  expect(container.textContent).toContain("Table 2 (0)");

  await type("Try $x^2$.");
  await press("Comment");
  expect([server.model.comments[0]?.text, field().value]).toEqual(["Try $x^2$.", ""]);
  expect(container.querySelector("article .katex")).not.toBe(null);
  server.trouble = (_, method) => (method === "POST" ? coded(422, "invalid_fields") : undefined);
  await type("refused");
  await press("Comment");
  expect(container.textContent).toContain("Not sent: invalid_fields");
  await press("Edit");
  expect(field().value).toBe("refused");
  server.trouble = undefined;
  await press("Comment");
  await happen(() => server.model.deleteDiscussion(2));
  expect(container.textContent).toContain("Deleted");
  expect(server.model.comments).toHaveLength(2);

  await show(null);
  expect(container.textContent).toContain("Batch effects");
  await act(async () => root.unmount());
  await act(settle);
  expect(server.parked).toEqual([]);
});

test("the README's thread shows what is unread, and marks it", async () => {
  const server = new FakeServer();
  vi.stubGlobal("fetch", server.fetch);
  const grace = { id: 2, username: "grace", avatar_url: null };
  server.model.createDiscussion("Batch effects", "text", grace);
  server.model.createComment(1, null, "one", grace);
  server.model.createComment(1, null, "two", grace);
  const { Live } = await import("../readme/live.js");
  const { ReadThread, Unread } = await import("../readme/unread.js");
  const container = document.body.appendChild(document.createElement("div"));
  const root = createRoot(container);
  await act(async () =>
    root.render(
      <QueryClientProvider client={new QueryClient()}>
        <Live user={{ id: 1 }}>
          <Unread articleId={1} communityId={7} />
          <ReadThread discussionId={1} />
        </Live>
      </QueryClientProvider>,
    ),
  );
  await act(settle);
  const shown = () => [...container.querySelectorAll("article")].map((one) => one.textContent?.split("Mark")[0]);
  const click = (name: string) =>
    act(async () => {
      [...container.querySelectorAll("button")].find((one) => one.textContent?.startsWith(name))?.click();
      await settle();
      server.deliver();
      await settle();
    });
  expect(shown()).toEqual(["New: one", "New: two"]);
  await click("Mark 2 comments as read");
  expect(shown()).toEqual(["one", "two"]);
  await click("Mark as unread from here");
  expect(shown()).toEqual(["New: one", "New: two"]);
  // The sums are fetched again.
  await vi.waitFor(async () => {
    await act(settle);
    expect(container.textContent).toContain("Mark 2 comments as read");
  }, 4_000);
  await act(async () => root.unmount());
});

test("the README's inbox, follow buttons, field and guest work", async () => {
  localStorage.clear();
  const server = new FakeServer();
  vi.stubGlobal("fetch", server.fetch);
  const grace = { id: 2, username: "grace", avatar_url: null };
  server.members = [{ author: grace, handle: "grace" }];
  server.model.createDiscussion("Batch effects", "text", { id: 1, username: "ada", avatar_url: null });
  server.model.createComment(1, null, "See table 2.", grace);
  const { Live } = await import("../readme/live.js");
  const { FollowButtons, Inbox } = await import("../readme/inbox.js");
  const { Field, Guest } = await import("../readme/mention.js");
  const container = document.body.appendChild(document.createElement("div"));
  const root = createRoot(container);
  await act(async () =>
    root.render(
      <QueryClientProvider client={new QueryClient()}>
        <Live user={{ id: 1 }}>
          <FollowButtons discussionId={1} />
          <Inbox />
          <Field communityId={7} articleId={1} />
          <Guest communityId={7} />
        </Live>
      </QueryClientProvider>,
    ),
  );
  await act(settle);
  const click = (name: string) =>
    act(async () => {
      [...container.querySelectorAll("button")].find((one) => one.textContent === name)?.click();
      await settle();
      server.deliver();
      await settle();
    });
  const pressed = () => [...container.querySelectorAll("button[aria-pressed=true]")].map((one) => one.textContent);
  expect(container.textContent).toContain("New: grace (comment) in Batch effects: See table 2.");
  expect(container.textContent).toContain("You are reading as a guest, live.");
  // Whoever began the discussion follows it.
  expect(pressed()).toEqual(["Follow"]);
  await click("Mute");
  expect(pressed()).toEqual(["Mute"]);
  await click("Mute");
  expect(pressed()).toEqual(["Follow"]);
  await click("Mark all as read");
  expect(container.querySelector("section")?.getAttribute("aria-label")).toBe("Inbox, 0 unread");
  const field = container.querySelector("textarea") as HTMLTextAreaElement;
  await act(async () => {
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")?.set?.call(field, "@gr");
    field.setSelectionRange(3, 3);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  await vi.waitFor(async () => {
    await act(settle);
    expect(container.querySelector("[role=option]")?.textContent).toBe("grace");
  });
  await act(async () => (container.querySelector("[role=option]") as HTMLElement).click());
  expect(field.value).toBe("@grace ");
  await act(async () => root.unmount());
  await act(settle);
});

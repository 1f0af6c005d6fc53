import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type Server as HttpServer, type ServerResponse } from "node:http";
import { createServer, type AddressInfo, type Server as TcpServer, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import type { BrowserContext, Page } from "playwright-core";
import { expect } from "vitest";
import type { Person } from "./browser.js";
import { People } from "./pages.js";
import { freePort, until, type Server } from "./server.js";

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));

const newest = { folder: path("tests/next-app"), next: path("node_modules/next/dist/bin/next") };

/** Below `tests/oldest`, whose `node_modules` have the oldest versions. */
const copy = path("tests/oldest/dist");
const oldest = { folder: `${copy}/next-app`, next: path("tests/oldest/node_modules/next/dist/bin/next") };

/** Copies the pages that the test opens and the README's files, and installs the built package there as npm does. */
async function copyForOldest(): Promise<void> {
  const installed = `${copy}/node_modules/@scicommons/discussions-client`;
  await rm(copy, { recursive: true, force: true });
  await cp(path("tests/readme"), `${copy}/readme`, { recursive: true });
  await cp(path("tests/next-app/app"), `${oldest.folder}/app`, { recursive: true });
  await rm(`${oldest.folder}/app/prerendered`, { recursive: true });
  await rm(`${oldest.folder}/app/(reader)/streamed`, { recursive: true });
  await cp(path("dist"), `${installed}/dist`, { recursive: true });
  await cp(path("package.json"), `${installed}/package.json`);
  const config = {
    reactStrictMode: true,
    typescript: { ignoreBuildErrors: true },
    eslint: { ignoreDuringBuilds: true },
    // Nobody deploys it.
    outputFileTracing: false,
    // The README's files are beside the application's folder.
    experimental: { externalDir: true },
  };
  await writeFile(`${oldest.folder}/next.config.mjs`, `export default ${JSON.stringify(config)};\n`);
}

/** The Next.js application of `tests/next-app`, which is made of the README's code. */
export class NextApp {
  #child: ChildProcess | undefined;
  readonly #held = new Set<ServerResponse>();
  #gate: HttpServer | undefined;
  #log = "";

  private constructor(
    readonly url: string,
    private readonly port: number,
    private readonly versions: { folder: string; next: string },
  ) {}

  /** With the newest versions of Next.js and React, or with the oldest ones. */
  static async create(which: "newest" | "oldest" = "newest"): Promise<NextApp> {
    const port = await freePort();
    if (which === "oldest") await copyForOldest();
    return new NextApp(`http://127.0.0.1:${port}`, port, which === "oldest" ? oldest : newest);
  }

  /** Runs `next build`. `api` is the address of the discussions server. */
  async build(api: string): Promise<void> {
    const child = this.#run(["build", this.versions.folder], { NEXT_PUBLIC_DISCUSSIONS_URL: api });
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`next build failed:\n${this.#log}`);
  }

  /** Runs `next start`. */
  async start(api: string): Promise<void> {
    this.#gate = createHttpServer((_, response) => void this.#held.add(response)).listen(0, "127.0.0.1");
    await once(this.#gate, "listening");
    const gate = `http://127.0.0.1:${(this.#gate.address() as AddressInfo).port}`;
    const args = ["start", this.versions.folder, "--port", String(this.port), "--hostname", "127.0.0.1"];
    const child = (this.#child = this.#run(args, { NEXT_PUBLIC_DISCUSSIONS_URL: api, GATE_URL: gate }));
    await until("next start listens", async () => {
      if (child.exitCode !== null) throw new Error(`next start ended:\n${this.#log}`);
      return (await fetch(`${this.url}/discussion/1`).catch(() => undefined))?.ok === true;
    });
  }

  /** Whether the page `/streamed` has its list and waits to send it. */
  get isHeld(): boolean {
    return this.#held.size > 0;
  }

  /** Lets the page `/streamed` send its list. */
  release(): void {
    for (const response of this.#held) response.end();
    this.#held.clear();
  }

  async close(): Promise<void> {
    this.release();
    this.#gate?.close();
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  }

  #run(args: string[], env: Record<string, string>): ChildProcess {
    const child = spawn(process.execPath, [this.versions.next, ...args], {
      env: {
        ...process.env,
        // vitest sets it to "test".
        NODE_ENV: "production",
        NEXT_TELEMETRY_DISABLED: "1",
        // Otherwise Next.js 14 changes our lockfile.
        NEXT_IGNORE_INCORRECT_LOCKFILE: "1",
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.on("data", (data) => (this.#log += data));
    child.stderr.on("data", (data) => (this.#log += data));
    return child;
  }
}

/** The application and its discussions server, as readers see them. */
export class NextSite {
  readonly people = new People();
  /** What the consoles of all pages said, such as a hydration warning. */
  readonly complaints: string[] = [];

  constructor(
    readonly app: NextApp,
    readonly server: Server,
  ) {}

  /** The HTML as a reader without JavaScript sees it. The data for hydration is in scripts. */
  async html(path: string, user?: number): Promise<string> {
    const cookies = user === undefined ? [] : await this.#cookiesOf(user);
    const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
    const response = await fetch(this.app.url + path, { headers: { Cookie: cookie } });
    expect(response.status).toBe(200);
    return (await response.text()).replace(/<script\b.*?<\/script>/gs, "");
  }

  /** A browser in which this user is signed in: at the discussions server by its session, and at the application. */
  async signedIn(user: number): Promise<Person> {
    const one = await this.people.enter();
    await one.context.addCookies(await this.#cookiesOf(user));
    return one;
  }

  async visit(one: Person, path: string): Promise<Page> {
    const page = await one.context.newPage();
    page.setDefaultTimeout(30_000);
    page.on("pageerror", (error) => this.complaints.push(`${error.message}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.complaints.push(message.text());
    });
    await page.goto(this.app.url + path, { waitUntil: "commit" });
    return page;
  }

  /** The calls of this browser to the discussions server, such as "GET /poll". */
  callsOf(context: BrowserContext): { call: string; page: Page }[] {
    const calls: { call: string; page: Page }[] = [];
    context.on("request", (request) => {
      if (!request.url().startsWith(this.server.url) || request.method() === "OPTIONS") return;
      calls.push({ call: `${request.method()} ${new URL(request.url()).pathname}`, page: request.frame().page() });
    });
    return calls;
  }

  async leave(): Promise<void> {
    this.complaints.length = 0;
    await this.people.leave();
  }

  async #cookiesOf(user: number) {
    const { app, server } = this;
    const headers = { Authorization: `Bearer ${await server.token(user)}`, Origin: app.url };
    const answer = await fetch(`${server.url}/session`, { method: "POST", headers });
    const [name = "", value = ""] = (answer.headers.get("set-cookie") ?? "").split(";")[0]?.split("=") ?? [];
    return [
      { name, value, url: app.url, httpOnly: true },
      { name: "app_user", value: String(user), url: app.url },
    ];
  }
}

/** Accepts connections at the port and never answers, as a server that hangs. */
export class SilentServer {
  readonly #sockets = new Set<Socket>();
  /** How many connections carried a request. */
  requests = 0;
  /** How long the most patient client has waited, in milliseconds. */
  waitedMs = 0;

  private constructor(private readonly tcp: TcpServer) {}

  static async at(url: string): Promise<SilentServer> {
    const tcp = createServer();
    const silent = new SilentServer(tcp);
    tcp.on("connection", (socket) => {
      silent.#sockets.add(socket);
      socket.once("data", () => {
        silent.requests += 1;
        const asked = performance.now();
        socket.once("close", () => (silent.waitedMs = Math.max(silent.waitedMs, performance.now() - asked)));
      });
      socket.on("error", () => undefined);
    });
    tcp.listen(Number(new URL(url).port), "127.0.0.1");
    await once(tcp, "listening");
    return silent;
  }

  async close(): Promise<void> {
    const closed = once(this.tcp, "close");
    this.tcp.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

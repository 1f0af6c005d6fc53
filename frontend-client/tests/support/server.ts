import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";

const demo = fileURLToPath(new URL("../../demo/out", import.meta.url));

/** The real server with its own database. `kill` and `start` may be called repeatedly. */
export class Server {
  #child: ChildProcess | undefined;
  #log = "";

  private constructor(
    readonly url: string,
    private readonly port: number,
    private readonly database: string,
    private readonly extra: Record<string, string>,
  ) {}

  static async create(extra: Record<string, string> = {}): Promise<Server> {
    const port = await freePort();
    const name = `client_test_${process.pid}_${port}`;
    await admin(`create database ${name}`);
    const url = new URL(needed("DATABASE_URL"));
    url.pathname = `/${name}`;
    const server = new Server(`http://127.0.0.1:${port}`, port, url.href, extra);
    await server.#run(["migrate"]);
    await server.#run(["seed"]);
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const child = spawn(needed("DISCUSSIONS_BIN"), ["serve"], {
      env: await this.#environment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.on("data", (data) => (this.#log += data));
    child.stderr.on("data", (data) => (this.#log += data));
    this.#child = child;
    for (let tries = 0; tries < 800; tries += 1) {
      if (child.exitCode !== null) throw new Error(`the server ended:\n${this.#log}`);
      const response = await fetch(`${this.url}/health/ready`).catch(() => undefined);
      if (response?.ok) return;
      await pause(25);
    }
    throw new Error(`the server did not get ready:\n${this.#log}`);
  }

  /** Kills the server (SIGKILL), as a crash does. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async close(): Promise<void> {
    await this.kill();
    await admin(`drop database if exists ${new URL(this.database).pathname.slice(1)} with (force)`);
  }

  async token(userId: number): Promise<string> {
    const response = await this.post("/demo/token", { user_id: userId });
    return ((await response.json()) as { token: string }).token;
  }

  async membership(userId: number, communityId: number, role: string | null): Promise<void> {
    await this.post("/demo/membership", { user_id: userId, community_id: communityId, role });
  }

  /** Changes the database as another program does, such as Django. */
  async sql(statement: string): Promise<void> {
    const client = new pg.Client({ connectionString: this.database });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  }

  async post(path: string, body: unknown): Promise<Response> {
    const response = await fetch(this.url + path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
  }

  async #run(args: string[]): Promise<void> {
    const child = spawn(needed("DISCUSSIONS_BIN"), args, {
      env: await this.#environment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => (output += data));
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`${args.join(" ")}: ${output}`);
  }

  async #environment(): Promise<Record<string, string>> {
    return {
      PATH: process.env["PATH"] ?? "",
      DATABASE_URL: this.database,
      BIND_ADDR: `127.0.0.1:${this.port}`,
      METRICS_ADDR: `127.0.0.1:${await freePort()}`,
      JWT_SECRET: "a secret of these tests, long enough for any rule",
      DEMO: "true",
      STATIC_DIR: demo,
      // The tests write faster than people; those of the limits set them in `extra`.
      WRITES_PER_MINUTE: "0",
      VOTES_PER_MINUTE: "0",
      REGISTERS_PER_MINUTE: "0",
      ANONYMOUS_READS_PER_MINUTE: "0",
      RUST_LOG: "warn",
      ...this.extra,
    };
  }
}

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}: these tests need the real server (see README.md, "Development")`);
  return value;
}

async function admin(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: needed("DATABASE_URL") });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

/** Waits until the condition holds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await pause(25);
  }
}

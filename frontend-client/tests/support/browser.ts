import { chromium, type Browser, type BrowserContext } from "playwright-core";
import { afterAll } from "vitest";

const args = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export interface Person {
  context: BrowserContext;
  close(): Promise<void>;
}

/** The program is started once for each test file. */
let chromiumOfFile: Promise<Browser> | undefined;
afterAll(async () => (await chromiumOfFile)?.close());

/** A browser profile of its own, as of another person: cookies, storage, locks and channels are not shared with others. */
export async function person(
  options: { colorScheme?: "light" | "dark"; viewport?: { width: number; height: number } } = {},
): Promise<Person> {
  chromiumOfFile ??= chromium.launch({
    executablePath: process.env["CHROMIUM_PATH"] ?? "/usr/bin/chromium",
    chromiumSandbox: process.getuid?.() !== 0,
    args,
  });
  const context = await (await chromiumOfFile).newContext(options);
  return { context, close: () => context.close() };
}

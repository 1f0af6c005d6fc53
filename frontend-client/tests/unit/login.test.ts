import { beforeEach, expect, test } from "vitest";
import { ApiError, configureApi, createLogin, logOut, refreshTokens } from "../../src/index.js";
import { getSession, type Login, type LoginOptions } from "../../src/index.js";
import { FakeBrowser, settle } from "../support/fake-environment.js";

/** A server that replaces a refresh token at each use, and knows which one is valid. */
class Issuer {
  refreshes = 0;
  valid = "refresh 0";
  /** What the next refreshes are rejected with. */
  failure: Error | undefined;
  /** Holds answers back. */
  gate: Promise<void> = Promise.resolve();

  first = () => this.#tokens();

  refresh = async (token: string) => {
    this.refreshes += 1;
    await this.gate;
    if (this.failure) throw this.failure;
    if (token !== this.valid) throw new ApiError(401, "token_invalid", "no");
    this.valid = `refresh ${this.refreshes}`;
    return this.#tokens();
  };

  #tokens = () => ({ access: `access ${this.refreshes}`, refresh: this.valid, expires_in: 600 });
}

class FakeStorage {
  readonly values = new Map<string, string>();
  getItem = (name: string) => this.values.get(name) ?? null;
  setItem = (name: string, value: string) => void this.values.set(name, value);
  removeItem = (name: string) => void this.values.delete(name);
}

let browser: FakeBrowser;
let issuer: Issuer;
let storage: FakeStorage;
let ended: number;

beforeEach(() => {
  browser = new FakeBrowser();
  issuer = new Issuer();
  storage = new FakeStorage();
  ended = 0;
});

function tab(options: Partial<LoginOptions> = {}): Login {
  const environment = browser.tab().environment();
  return createLogin({ refresh: issuer.refresh, onEnded: () => (ended += 1), storage, environment, ...options });
}

const token = (login: Login) => login.token({ refresh: false });

async function pass(seconds: number) {
  await browser.timers.advance(seconds * 1000);
}

test("gives the token of the log-in until shortly before it expires, and then the next", async () => {
  const login = tab();
  expect(await token(login)).toBe(null);
  login.begin(issuer.first());
  expect(await token(login)).toBe("access 0");
  await pass(539);
  expect(await token(login)).toBe("access 0");
  await pass(1);
  expect(await token(login)).toBe("access 1");
  expect(await token(login)).toBe("access 1");
  await pass(540);
  expect(await token(login)).toBe("access 2");
  expect(issuer.refreshes).toBe(2);
});

test("one refresh serves all tabs", async () => {
  const tabs = [tab(), tab(), tab()];
  tabs[0]?.begin(issuer.first());
  await pass(600);
  const tokens = await Promise.all([...tabs, ...tabs].map(token));
  expect(new Set(tokens)).toEqual(new Set(["access 1"]));
  expect(issuer.refreshes).toBe(1);
});

test("a token that the server has refused is replaced once, whichever tab hears of it", async () => {
  const [one, two] = [tab(), tab()];
  one.begin(issuer.first());
  await Promise.all([token(one), token(two)]);
  expect(await one.token({ refresh: true })).toBe("access 1");
  expect(await two.token({ refresh: true })).toBe("access 1");
  expect(issuer.refreshes).toBe(1);
  expect(await two.token({ refresh: true })).toBe("access 2");
});

test("where nobody answers, the token is used as long as it is valid", async () => {
  const login = tab();
  login.begin(issuer.first());
  await token(login);
  issuer.failure = new TypeError("no network");
  await pass(550);
  expect(await token(login)).toBe("access 0");
  await expect(login.token({ refresh: true })).rejects.toThrow("no network");
  await pass(50);
  await expect(token(login)).rejects.toThrow("no network");
  expect(ended).toBe(0);
  issuer.failure = undefined;
  expect(await token(login)).toMatch(/^access/);
});

test("an ended log-in is told once and forgotten in all tabs", async () => {
  const [one, two] = [tab(), tab()];
  one.begin(issuer.first());
  issuer.valid = "another";
  await pass(600);
  expect(await Promise.all([token(one), token(two)])).toEqual([null, null]);
  expect([ended, issuer.refreshes, storage.values.size]).toEqual([1, 1, 0]);
});

test("a log-out is not undone by a refresh that is under way", async () => {
  const [one, two] = [tab(), tab()];
  one.begin(issuer.first());
  let answer = () => {};
  issuer.gate = new Promise((resolve) => (answer = resolve));
  await pass(600);
  const waiting = token(one);
  await settle();
  expect(two.end()).toBe("refresh 0");
  expect(two.end()).toBe(null);
  answer();
  expect(await waiting).toBe(null);
  expect([ended, storage.values.size]).toEqual([0, 0]);
});

test("a storage that is full or forbidden ends no log-in", async () => {
  const [one, two] = [tab(), tab()];
  const { setItem, removeItem } = storage;
  const full = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  storage.setItem = full;
  one.begin(issuer.first());
  expect([await token(one), await token(two)]).toEqual(["access 0", null]);
  await pass(600);
  expect([await token(one), await token(one), issuer.refreshes]).toEqual(["access 1", "access 1", 1]);
  expect([one.end(), await token(one)]).toEqual(["refresh 1", null]);
  // It becomes full later. The other tab must not use the old refresh token.
  storage.setItem = setItem;
  one.begin(issuer.first());
  expect(await token(two)).toBe("access 1");
  storage.setItem = full;
  await pass(600);
  expect([await token(one), await token(two), ended]).toEqual(["access 2", null, 0]);
  // There is room again, and the other tab logs in.
  storage.setItem = setItem;
  two.begin(issuer.first());
  await pass(600);
  expect([await token(two), await token(one), issuer.refreshes]).toEqual(["access 3", "access 3", 3]);
  storage.setItem = storage.removeItem = full;
  expect([one.end(), await token(one)]).toEqual(["refresh 3", null]);
  storage.removeItem = removeItem;
});

test("works without storage, without locks, and with anything in the storage", async () => {
  const { timers } = browser.tab().environment();
  const alone = tab({ storage: undefined, environment: { timers, locks: undefined } });
  alone.begin(issuer.first());
  await pass(600);
  expect(await token(alone)).toBe("access 1");
  expect(alone.end()).toBe("refresh 1");
  for (const nonsense of ["{", "null", "3", "{}", '{"access":1,"refresh":"a","replaceAt":1,"expiresAt":1}']) {
    storage.setItem("discussions-login", nonsense);
    expect(await token(tab())).toBe(null);
  }
});

test("the package's own functions refresh and log out without the token that they are to replace", async () => {
  const sent: unknown[] = [];
  const answer: typeof fetch = async (input, init) => {
    const { refresh = "" } = JSON.parse(String(init?.body ?? "{}")) as { refresh?: string };
    const authorization = new Headers(init?.headers).get("authorization");
    sent.push([input, refresh, authorization]);
    if (input === "/auth/logout") return new Response(null, { status: 204 });
    if (input === "/auth/refresh")
      return issuer.refresh(refresh).then(
        (tokens) => Response.json(tokens),
        () => Response.json({ code: "token_invalid", message: "no" }, { status: 401 }),
      );
    return authorization === `Bearer access ${issuer.refreshes}`
      ? Response.json({})
      : Response.json({ code: "token_expired", message: "no" }, { status: 401 });
  };
  const login = tab({ refresh: (refresh) => refreshTokens({ refresh }) });
  configureApi({ token: login.token, fetch: answer });
  try {
    login.begin(issuer.first());
    await pass(600);
    await getSession();
    expect(sent).toEqual([
      ["/auth/refresh", "refresh 0", null],
      ["/session", "", "Bearer access 1"],
    ]);
    await logOut({ refresh: login.end() ?? "" });
    expect(sent.at(-1)).toEqual(["/auth/logout", "refresh 1", null]);
    // A refused refresh is refused once, and ends the log-in.
    login.begin(issuer.first());
    issuer.valid = "another";
    await pass(600);
    await expect(getSession()).rejects.toThrow("no");
    expect([ended, issuer.refreshes]).toEqual([1, 2]);
  } finally {
    configureApi({});
  }
});

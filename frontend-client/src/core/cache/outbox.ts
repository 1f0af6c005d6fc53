import type { QueryClient } from "@tanstack/react-query";
import type { ApiConfig } from "../api/config.js";
import { ApiError, isApiError, isTransient } from "../api/error.js";
import { callOptions } from "../api/request.js";
import * as api from "../generated/api.js";
import { systemTimers, type Timers } from "../live/environment.js";
import type { RealtimeStatus } from "../live/status.js";
import { trimmed } from "../text.js";
import { keys, normalUser, type User } from "./keys.js";
import { Pending, type Operation, type Version } from "./pending.js";
import type { Store } from "./store.js";
import { read, write, type KeptStorage } from "./storage.js";

export type SendResult = api.Comment | api.Discussion | void;

export interface OutboxOptions {
  config: ApiConfig;
  user: User;
  queryClient: QueryClient;
  status: Store<RealtimeStatus>;
  pending: Pending;
  storage: KeptStorage | undefined;
  timers?: Timers | undefined;
}

/** The user discarded an operation before it was sent. */
export class DiscardedError extends Error {
  override readonly name = "DiscardedError";
}

const CAP_MS = 30_000;

/**
 * Sends the user's writes (operations). Each operation shows on the page at once. New items are stored, over reloads too, until
 * the server has them or the user discards them.
 *
 * All attempts of an operation carry the same Idempotency-Key, so a retry creates nothing twice. While the server cannot be
 * reached, an operation waits. It is sent by itself as soon as the page is live again.
 */
export class Outbox {
  readonly #running = new Map<string, Promise<SendResult>>();
  /** By operation that waits: a function that ends its wait. */
  readonly #waiting = new Map<string, () => void>();
  readonly #name: string;

  constructor(private readonly options: OutboxOptions) {
    this.#name = `scicommons-discussions:outbox:${normalUser(options.user) ?? ""}`;
  }

  /** Sends what an earlier page could not send. From now on, waits end when the page becomes live. */
  start(): () => void {
    const { pending, status } = this.options;
    const unsubscribes = [
      status.subscribe(() => {
        if (status.get().state === "live") this.#wake();
      }),
      pending.subscribe(() => this.#save()),
    ];
    if (typeof window !== "undefined") {
      const onLeave = (event: BeforeUnloadEvent) => {
        if (this.#isUnsent()) event.preventDefault();
      };
      const onHide = () => this.#sendHeld();
      window.addEventListener("beforeunload", onLeave);
      window.addEventListener("pagehide", onHide);
      unsubscribes.push(() => {
        window.removeEventListener("beforeunload", onLeave);
        window.removeEventListener("pagehide", onHide);
      });
    }
    this.#load();
    return () => unsubscribes.forEach((unsubscribe) => unsubscribe());
  }

  /** Sends the waiting operations at once. One that the server refused because of a limit waits for as long as the server said. */
  #wake(): void {
    for (const [key, end] of [...this.#waiting])
      if (!isApiError(this.options.pending.get(key)?.error, "rate_limited")) end();
  }

  /** Sends an operation, after `holdMs`. A second call with the same key returns the same promise and ends a wait. */
  send(operation: Operation, holdMs = 0): Promise<SendResult> {
    const running = this.#running.get(operation.key);
    if (running) {
      this.#waiting.get(operation.key)?.();
      return running;
    }
    const sending = this.#run(operation, holdMs).finally(() => this.#running.delete(operation.key));
    this.#running.set(operation.key, sending);
    return sending;
  }

  /** Removes the operation. A request that is already under way still arrives. */
  discard(key: string): void {
    this.options.pending.remove(key);
    this.#waiting.get(key)?.();
  }

  async #run(operation: Operation, holdMs: number): Promise<SendResult> {
    const { pending } = this.options;
    const { key } = operation;
    if (holdMs > 0) {
      pending.add({ ...operation, state: "held", error: undefined });
      await this.#wait(key, holdMs);
      if (!pending.get(key)) throw new DiscardedError("it was undone");
    }
    pending.add({ ...operation, state: "sending", error: undefined });
    for (let failures = 0; ; failures += 1) {
      try {
        const result = await call(operation, this.options.config);
        this.#confirm(key, result);
        return result;
      } catch (error) {
        if (!mayHelpLater(error)) {
          if (operation.kind.startsWith("create")) pending.change(key, { state: "failed", error });
          else pending.remove(key);
          throw error;
        }
        if (!pending.get(key)) throw new DiscardedError("it was discarded");
        pending.change(key, { state: "waiting", error });
        await this.#wait(key, backoff(failures, error));
        if (!pending.get(key)) throw new DiscardedError("it was discarded");
        pending.change(key, { state: "sending" });
      }
    }
  }

  #confirm(key: string, result: SendResult): void {
    const { pending, queryClient, status, user } = this.options;
    pending.change(key, { state: "confirmed", error: undefined, ...(result ? { result } : {}) } as Partial<Operation>);
    // No event will come soon, so fetch again.
    if (status.get().state !== "live") void queryClient.invalidateQueries({ queryKey: keys.all(user) });
  }

  #wait(key: string, ms: number): Promise<void> {
    const timers = this.options.timers ?? systemTimers;
    return new Promise((resolve) => {
      const end = () => {
        timers.clear(timer);
        this.#waiting.delete(key);
        resolve();
      };
      const timer = timers.set(end, ms);
      this.#waiting.set(key, end);
    });
  }

  #isUnsent(): boolean {
    return this.options.pending.snapshot().some(({ state }) => state === "sending" || state === "waiting");
  }

  /** Sends deletions that could still be undone, because the page is being left and nobody can undo them any more. */
  #sendHeld(): void {
    for (const operation of this.options.pending.snapshot())
      if (operation.state === "held") this.#waiting.get(operation.key)?.();
  }

  #save(): void {
    const unsent = this.options.pending
      .snapshot()
      .filter(({ kind, state }) => kind.startsWith("create") && state !== "confirmed");
    const kept = unsent.map(({ error, ...operation }) => ({ ...operation, error: plain(error) }));
    write(this.options.storage, this.#name, kept.length > 0 ? kept : undefined);
  }

  #load(): void {
    const kept = read(this.options.storage, this.#name);
    if (!Array.isArray(kept)) return;
    for (const operation of kept as (Operation & { error?: Plain })[]) {
      if (typeof operation?.key !== "string" || this.options.pending.get(operation.key)) continue;
      const { error } = operation;
      if (operation.state === "failed")
        this.options.pending.add({
          ...operation,
          error: error && new ApiError(error.status, error.code, error.message, error.fields),
        });
      else this.send(operation).catch(() => undefined);
    }
  }
}

type Plain = Pick<ApiError, "status" | "code" | "message" | "fields">;

function plain(error: unknown): Plain | undefined {
  if (!(error instanceof ApiError)) return undefined;
  const { status, code, message, fields } = error;
  return { status, code, message, fields };
}

/** Whether to send it again later: the server cannot be reached, is overloaded, or the user is signed out. Refusals are final. */
function mayHelpLater(error: unknown): boolean {
  return isTransient(error) || (error instanceof ApiError && error.status === 401);
}

function backoff(failures: number, error: unknown): number {
  const least = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
  return least + (0.5 + Math.random() / 2) * Math.min(CAP_MS, 500 * 2 ** Math.min(failures, 10));
}

async function call(operation: Operation, config: ApiConfig): Promise<SendResult> {
  const options = callOptions(config);
  const once = callOptions(config, { headers: { "Idempotency-Key": operation.key } });
  switch (operation.kind) {
    case "create_comment":
      return api.createComment(operation.discussionId, operation.input, once);
    case "create_discussion":
      return api.createDiscussion(operation.articleId, operation.input, once);
    case "update_comment":
      return save({ text: operation.text }, operation.from, (change) =>
        api.updateComment(operation.id, change, options),
      );
    case "update_discussion":
      return save(operation.patch, operation.from, (change) => api.updateDiscussion(operation.id, change, options));
    // With `keepalive` the browser sends it even if the page is left.
    case "delete_comment":
      return gone(api.deleteComment(operation.id, callOptions(config, { keepalive: true })));
    case "delete_discussion":
      return gone(api.deleteDiscussion(operation.id, callOptions(config, { keepalive: true })));
  }
}

/**
 * Saves a change of the version that the user began with. If another version is there, the user must decide, unless its texts are
 * the ones that the user began with, as when somebody resolved the discussion, or the ones to save: then the answer to an earlier
 * attempt was lost.
 */
async function save<C extends Texts, T extends Texts & { updated_at: string }>(
  change: C,
  from: Version | undefined,
  send: (change: C & { if_updated_at?: string }) => Promise<T>,
): Promise<T> {
  if (!from) return send(change);
  for (let version = from.updated_at; ;) {
    try {
      return await send({ ...change, if_updated_at: version });
    } catch (error) {
      const current = isApiError(error, "changed_meanwhile") ? (error.current as T | undefined) : undefined;
      if (!current) throw error;
      if (agree(current, change, change)) return current;
      if (!agree(current, from, change) || current.updated_at === version) throw error;
      version = current.updated_at;
    }
  }
}

type Texts = { topic?: string | null; text?: string | null };

/** Whether two have the same text and topic, as far as `change` changes them. */
function agree(a: Texts, b: Texts, change: Texts): boolean {
  const names = (["topic", "text"] as const).filter((name) => typeof change[name] === "string");
  return names.length > 0 && names.every((name) => trimmed(a[name] ?? "") === trimmed(b[name] ?? ""));
}

/** An item that is already deleted counts as success, because the answer to the first attempt may have been lost. */
async function gone(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if (!isApiError(error, "comment_deleted") && !isApiError(error, "discussion_deleted")) throw error;
  }
}

/** Says to people why something was not sent. */
export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return "The server cannot be reached.";
  const fields = Object.values(error.fields);
  return fields.length > 0 ? fields.join(" ") : error.message;
}

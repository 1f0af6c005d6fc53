import type { QueryClient } from "@tanstack/react-query";
import type { ApiConfig } from "../api/config.js";
import { ApiError, isApiError, isTransient } from "../api/error.js";
import { callOptions } from "../api/request.js";
import * as api from "../generated/api.js";
import { systemTimers, type Timers } from "../live/environment.js";
import type { RealtimeStatus } from "../live/status.js";
import { keys, normalUser, type User } from "./keys.js";
import { Pending, type Operation } from "./pending.js";
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

/** The user threw it away, or took it back, before it was sent. */
export class DiscardedError extends Error {
  override readonly name = "DiscardedError";
}

const CAP_MS = 30_000;

/**
 * Sends what the user did: shown at once, and kept, over reloads too, until the server has it or the user discards it.
 *
 * Each operation has one Idempotency-Key for all its attempts, so trying again makes nothing twice. While the server cannot
 * be reached it waits, and goes on by itself as soon as the page is live again.
 */
export class Outbox {
  readonly #running = new Map<string, Promise<SendResult>>();
  /** Operations that wait, and what ends the wait. */
  readonly #waiting = new Map<string, () => void>();
  readonly #name: string;

  constructor(private readonly options: OutboxOptions) {
    this.#name = `scicommons-discussions:outbox:${normalUser(options.user) ?? ""}`;
  }

  /** Takes up what an earlier page left, and waits no longer than until the page is live. */
  start(): () => void {
    const { pending, status } = this.options;
    const offs = [
      status.subscribe(() => {
        if (status.get().state === "live") this.wake();
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
      offs.push(() => {
        window.removeEventListener("beforeunload", onLeave);
        window.removeEventListener("pagehide", onHide);
      });
    }
    this.#load();
    return () => offs.forEach((off) => off());
  }

  /** Tries all that waits at once. */
  wake(): void {
    for (const end of [...this.#waiting.values()]) end();
  }

  /** A second call with the same key is the same attempt. */
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

  /** Throws it away, unless it is on its way already. */
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
      if (!pending.get(key)) throw new DiscardedError("it was taken back");
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
    // No event will come soon.
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

  /** A deletion that could still be taken back is sent when the page goes away: nobody can take it back any more. */
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

/** Out of reach, overloaded or signed out: it may be sent another time. A refusal stays one. */
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
      return api.updateComment(operation.id, { text: operation.text }, options);
    case "update_discussion":
      return api.updateDiscussion(operation.id, operation.patch, options);
    // It is sent even if the page goes away meanwhile.
    case "delete_comment":
      return gone(api.deleteComment(operation.id, callOptions(config, { keepalive: true })));
    case "delete_discussion":
      return gone(api.deleteDiscussion(operation.id, callOptions(config, { keepalive: true })));
  }
}

/** Deleting what is deleted is done: the answer to the first try may have been lost. */
async function gone(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if (!isApiError(error, "comment_deleted") && !isApiError(error, "discussion_deleted")) throw error;
  }
}

/** Why it was not sent, for people. */
export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return "The server cannot be reached.";
  const fields = Object.values(error.fields);
  return fields.length > 0 ? fields.join(" ") : error.message;
}

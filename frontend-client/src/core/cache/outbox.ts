import type { QueryClient } from "@tanstack/react-query";
import type { ApiConfig } from "../api/config.js";
import { ApiError, isApiError } from "../api/error.js";
import type { Timers } from "../live/environment.js";
import type { RealtimeStatus } from "../live/status.js";
import type { KnownEvent } from "../events.js";
import type { Drafts } from "./drafts.js";
import { keys, normalUser, type User } from "./keys.js";
import { learnPseudonym } from "./own-pseudonym.js";
import { Pending, type Operation } from "./pending.js";
import { mayHelpLater, retryDelay } from "./retry.js";
import type { Summary } from "../generated/api.js";
import { showSummary } from "./cached.js";
import { call, editedText, type OwnText, type SendResult } from "./send-operation.js";
import type { Store } from "./store.js";
import { read, write, type KeptStorage } from "./storage.js";

export interface OutboxOptions {
  config: ApiConfig;
  user: User;
  queryClient: QueryClient;
  status: Store<RealtimeStatus>;
  pending: Pending;
  drafts: Drafts;
  storage: KeptStorage | undefined;
  /** The events that this tab has. */
  events: () => readonly KnownEvent[];
  /** The newest event that this tab has; 0 before it has any. */
  head: () => number;
  /** Called with every refusal. */
  onError: (error: Error) => void;
  timers: Timers;
}

/** The user discarded an operation before it was sent. */
export class DiscardedError extends Error {
  override readonly name = "DiscardedError";
}

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

  /** The newest event that the page shows. */
  head(): number {
    return this.options.head();
  }

  /** Sends an operation, after `holdMs`. A second call with the same key returns the same promise and ends a wait. */
  send(operation: Operation, holdMs = 0): Promise<SendResult> {
    const running = this.#running.get(operation.key);
    if (running) {
      // One vote or level follows the other: the newest value is sent when the answer to the last one is there.
      if ("value" in operation)
        this.options.pending.change(operation.key, { value: operation.value } as Partial<Operation>);
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
    for (let failures = 0; ;) {
      try {
        const sent = pending.get(key) ?? operation;
        let own: OwnText | undefined;
        const result = await call(sent, this.options.config, (text) => (own = text));
        const newest = pending.get(key) ?? sent;
        if ("value" in sent && "value" in newest && newest.value !== sent.value) continue;
        this.#confirm(operation, result, own);
        return result;
      } catch (error) {
        if (!mayHelpLater(error)) {
          if (error instanceof Error) this.options.onError(error);
          // The event of what is there instead may be under way.
          if (operation.kind === "delete_summary" && isApiError(error, "changed_meanwhile") && error.current)
            showSummary(this.options.queryClient, this.options.user, error.current as Summary);
          if (operation.kind.startsWith("create")) pending.change(key, { state: "failed", error });
          else {
            this.#keepText(operation);
            pending.remove(key);
          }
          throw error;
        }
        if (!pending.get(key)) throw new DiscardedError("it was discarded");
        pending.change(key, { state: "waiting", error });
        await this.#wait(key, retryDelay(failures, error));
        failures += 1;
        if (!pending.get(key)) throw new DiscardedError("it was discarded");
        pending.change(key, { state: "sending" });
      }
    }
  }

  #confirm({ key, kind }: Operation, answer: SendResult, own: OwnText | undefined): void {
    const { events, pending, queryClient, status, user } = this.options;
    if (own) learnPseudonym(queryClient, user, own);
    const result = answer && kind === "create_comment" ? { ...answer, replies: [] } : answer;
    pending.change(key, { state: "confirmed", error: undefined, ...(result ? { result } : {}) } as Partial<Operation>);
    // Events may have been faster than the answer.
    pending.fold(events());
    // No event will come soon, so fetch again.
    if (status.get().state !== "live") void queryClient.invalidateQueries({ queryKey: keys.all(user) });
  }

  /** Puts the text of a refused edit back into its draft, unless the user has kept or changed the draft. */
  #keepText(operation: Operation): void {
    const { drafts } = this.options;
    const { place, text, topic = "" } = editedText(operation) ?? {};
    if (place === undefined || text === undefined || drafts.get(place)) return;
    drafts.set(place, { text, topic }, ("from" in operation && operation.from) || undefined);
  }

  #wait(key: string, ms: number): Promise<void> {
    const { timers } = this.options;
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

/** Says to people why something was not sent. */
export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return "The server cannot be reached.";
  const fields = Object.values(error.fields);
  return fields.length > 0 ? fields.join(" ") : error.message;
}

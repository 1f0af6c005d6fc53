import type { Locks } from "./environment.js";

/**
 * Runs `lead` in one tab of the browser at a time. The lock is freed when the tab closes or crashes, and the tab that
 * waits longest takes over. A tab whose lock is stolen stops leading and waits again. Where there are no locks (an insecure
 * context, refused storage) every tab leads for itself.
 */
export async function runAsLeader(
  locks: Locks | undefined,
  name: string,
  signal: AbortSignal,
  lead: (signal: AbortSignal) => Promise<void>,
  /** Aborted when this tab is to take the lock from a leader that hangs. Asked for before each wait. */
  steal: () => AbortSignal | undefined = () => undefined,
): Promise<void> {
  let stealNow = false;
  while (!signal.aborted) {
    if (!locks) return lead(signal);
    const outcome = await holdOnce(locks, name, signal, lead, stealNow, steal());
    if (outcome === "done") return;
    if (outcome === "refused") locks = undefined;
    stealNow = outcome === "steal";
  }
}

/** `refused`: there are no locks for this page. `lost`: another tab stole the lock. `steal`: this tab is told to. */
type Outcome = "done" | "refused" | "lost" | "steal";

async function holdOnce(
  locks: Locks,
  name: string,
  signal: AbortSignal,
  lead: (signal: AbortSignal) => Promise<void>,
  stealNow: boolean,
  steal: AbortSignal | undefined,
): Promise<Outcome> {
  const waiting = new AbortController();
  const held = new AbortController();
  let granted = false;
  const onEnd = () => (granted ? held : waiting).abort(signal.reason);
  const onSteal = () => waiting.abort(new DOMException("the lock is to be stolen", "AbortError"));
  signal.addEventListener("abort", onEnd);
  steal?.addEventListener("abort", onSteal);
  let leading: Promise<void> | undefined;
  try {
    await locks.request(name, stealNow ? { steal: true } : { signal: waiting.signal }, () => {
      granted = true;
      if (signal.aborted) return Promise.resolve();
      return (leading = lead(held.signal));
    });
    return "done";
  } catch (error) {
    if (signal.aborted) return "done";
    if (!granted) return steal?.aborted ? "steal" : "refused";
    // The lock was stolen, or `lead` failed.
    held.abort();
    const failed = await leading?.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (failed !== undefined && failed === error) throw error;
    return "lost";
  } finally {
    signal.removeEventListener("abort", onEnd);
    steal?.removeEventListener("abort", onSteal);
  }
}

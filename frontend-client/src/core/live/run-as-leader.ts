import type { Locks } from "./environment.js";

/**
 * Runs `lead` in one tab of the browser at a time, the tab that holds the lock. When that tab closes or crashes, the browser
 * frees the lock and the tab that has waited longest gets it. A tab whose lock is stolen stops and waits again. If the page
 * has no locks (an insecure context, refused storage), every tab runs `lead` for itself.
 */
export async function runAsLeader(
  locks: Locks | undefined,
  name: string,
  signal: AbortSignal,
  lead: (signal: AbortSignal) => Promise<void>,
  /** Returns a signal that aborts when this tab is to steal the lock of a leader that hangs. Called before each wait. */
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

/** `refused`: this page gets no locks. `lost`: another tab stole the lock. `steal`: this tab is to steal it. */
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
    // Either the lock was stolen or `lead` failed.
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

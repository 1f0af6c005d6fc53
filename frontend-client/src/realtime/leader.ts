import type { Locks } from "./environment.js";
import { isAbort } from "../api/error.js";

/**
 * Runs `lead` in one tab of the browser at a time. The lock is freed when the tab closes or crashes, and the tab that
 * waits longest takes over. Where there are no locks (an insecure context) every tab leads for itself.
 */
export async function campaign(
  locks: Locks | undefined,
  name: string,
  signal: AbortSignal,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  try {
    if (locks) await locks.request(name, { signal }, () => (signal.aborted ? Promise.resolve() : lead(signal)));
    else await lead(signal);
  } catch (error) {
    if (!signal.aborted && !isAbort(error)) throw error;
  }
}

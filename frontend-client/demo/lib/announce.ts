import { useValue, Value } from "./value";

/** What the page's one live region says. A screen reader reads each change of it once. */
const said = new Value("");

export function announce(message: string): void {
  // The same words again are no change, so a space is added that nobody hears.
  said.set(message === said.get() ? `${message}\u00a0` : message);
}

export const useAnnouncement = () => useValue(said, (message) => message);

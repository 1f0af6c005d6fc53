import type { Event } from "../generated/api.js";

/** The events that reached this tab. It has every event that its user may see with `start < event_id <= head`. */
export class EventLog {
  #events: Event[] = [];
  #start: number | undefined;
  #head: number | undefined;
  #resets = 0;

  constructor(private readonly capacity = 1000) {}

  /** Undefined until the first `reset` sets a cursor. */
  get head(): number | undefined {
    return this.#head;
  }

  get start(): number | undefined {
    return this.#start;
  }

  /** How often the log was emptied. What was current with an earlier log need not be so with this one. */
  get resets(): number {
    return this.#resets;
  }

  /** Empties the log and starts it at `cursor`. */
  reset(cursor: number): void {
    this.#resets += 1;
    this.#events = [];
    this.#start = cursor;
    this.#head = cursor;
  }

  /** Adds an answer that continues at `from`, and returns the new events. False if there is a gap between the log and `from`. */
  append(from: number, events: readonly Event[], head: number): Event[] | false {
    if (this.#head === undefined || from > this.#head) return false;
    const known = this.#head;
    const fresh = events.filter((event) => event.event_id > known);
    this.#events.push(...fresh);
    this.#head = Math.max(known, head);
    const surplus = this.#events.length - this.capacity;
    if (surplus > 0) {
      this.#start = this.#events[surplus - 1]?.event_id ?? this.#start;
      this.#events.splice(0, surplus);
    }
    return fresh;
  }

  /** The events after the cursor, or undefined if the log does not reach back that far. */
  since(cursor: number): Event[] | undefined {
    if (this.#start === undefined || cursor < this.#start) return undefined;
    return this.#events.filter((event) => event.event_id > cursor);
  }
}

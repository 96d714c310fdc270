// A flood of refused calls must not wash the history out of the journal (R13): of each source so many refusals a minute are
// written one by one, and of the rest how many there were.
import type { Journal } from './journal.ts';
import type { Decision } from './record.ts';

/** More than an honest agent has refused; a flood of one source then costs the journal less than 1 MB an hour. */
export const LISTED_PER_WINDOW = 60;
export const WINDOW_MS = 60_000;
/** Sources come from qrexec's header, so there are no more of them than qubes. */
const MAX_SOURCES = 1_024;

interface Window {
  readonly until: number;
  listed: number;
  unlisted: number;
}

export class Refusals {
  readonly #journal: Pick<Journal, 'note'>;
  readonly #monotonicMs: () => number;
  readonly #windows = new Map<string, Window>();

  constructor(journal: Pick<Journal, 'note'>, monotonicMs: () => number) {
    this.#journal = journal;
    this.#monotonicMs = monotonicMs;
  }

  /** Writes a decision that refused, or counts it; the count follows in a record of its own when the minute is over. */
  note(decision: Decision): void {
    const window = this.#windowOf(decision);
    if (window.listed < LISTED_PER_WINDOW) {
      window.listed += 1;
      this.#journal.note(decision);
    } else window.unlisted += 1;
  }

  #windowOf(decision: Decision): Window {
    const now = this.#monotonicMs();
    const before = this.#windows.get(decision.source);
    if (before && now < before.until) return before;
    if (before && before.unlisted > 0) {
      const args = { unlisted: before.unlisted };
      this.#journal.note({ ...decision, qubes: [], rule: 'refusals-not-listed', args });
    }
    this.#windows.delete(decision.source);
    if (this.#windows.size >= MAX_SOURCES) this.#windows.delete(this.#windows.keys().next().value as string);
    const window = { until: now + WINDOW_MS, listed: 0, unlisted: 0 };
    this.#windows.set(decision.source, window);
    return window;
  }
}

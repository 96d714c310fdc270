// A flood of refused calls must not wash the history out of the journal (R13): of each source so many refusals a minute are
// written one by one, and of the rest how many there were.
import type { Journal } from './journal.ts';
import type { Decision } from './record.ts';

/** More than an honest agent has refused; a flood of one source then costs the journal less than 1 MB an hour. */
export const LISTED_PER_WINDOW = 60;
export const WINDOW_MS = 60_000;
/** Sources come from qrexec's header, so there are no more of them than qubes. */
export const MAX_SOURCES = 1_024;

interface Window {
  readonly until: number;
  listed: number;
  unlisted: number;
  /** The newest of those that are only counted. */
  last: Decision | null;
}

export class Refusals {
  readonly #journal: Pick<Journal, 'note'>;
  readonly #monotonicMs: () => number;
  readonly #after: (ms: number, run: () => void) => unknown;
  readonly #windows = new Map<string, Window>();

  /** `after` runs something once after so many milliseconds. */
  constructor(
    journal: Pick<Journal, 'note'>,
    monotonicMs: () => number,
    after: (ms: number, run: () => void) => unknown = (ms, run) => setTimeout(run, ms).unref(),
  ) {
    this.#journal = journal;
    this.#monotonicMs = monotonicMs;
    this.#after = after;
  }

  /** Writes a decision that refused, or counts it; the count follows in a record of its own when the minute is over. */
  note(decision: Decision): void {
    const now = this.#monotonicMs();
    const window = this.#windowOf(decision.source, now);
    if (window.listed < LISTED_PER_WINDOW) {
      window.listed += 1;
      this.#journal.note(decision);
      return;
    }
    if (window.unlisted === 0) this.#after(window.until - now, () => this.#tell(window));
    window.unlisted += 1;
    window.last = decision;
  }

  /** Writes what is counted by now: nobody may flood the journal, be quiet, and leave no trace of how much it was. */
  close(): void {
    for (const window of this.#windows.values()) this.#tell(window);
  }

  #tell(window: Window): void {
    const { last, unlisted } = window;
    if (last === null || unlisted === 0) return;
    this.#journal.note({ ...last, qubes: [], rule: 'refusals-not-listed', args: { unlisted } });
    window.unlisted = 0;
  }

  #windowOf(source: string, now: number): Window {
    const before = this.#windows.get(source);
    if (before && now < before.until) return before;
    if (before) this.#forget(source, before);
    const [oldest] = this.#windows;
    if (oldest && this.#windows.size >= MAX_SOURCES) this.#forget(...oldest);
    const window = { until: now + WINDOW_MS, listed: 0, unlisted: 0, last: null };
    this.#windows.set(source, window);
    return window;
  }

  #forget(source: string, window: Window): void {
    this.#tell(window);
    this.#windows.delete(source);
  }
}

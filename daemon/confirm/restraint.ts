// What holds a source back: frozen by the operator until thawed, or denied so often that its questions rest for a while.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isQubeName, type QubeName } from '../names.ts';

/** So many denials of one source within the window, and its next questions are not asked. */
export const DENIALS = 3;
const DENIAL_WINDOW_MS = 10 * 60_000;
/** How long: this, then twice as long each time, up to the last; an approval or a calm day begins anew. */
export const FIRST_REST_MS = 5 * 60_000;
export const LAST_REST_MS = 4 * 3_600_000;
const CALM_MS = 24 * 3_600_000;
/** Sources come from qrexec's header, so there are no more of them than qubes. */
const MAX_SOURCES = 1_024;

const FILE = 'frozen';

interface Mood {
  /** Monotonic times of the denials that still count. */
  denials: number[];
  restUntil: number;
  nextRestMs: number;
  lastDenial: number;
  /** Questions turned away while it rested, since one was last shown. */
  unasked: number;
}

export class Restraint {
  readonly #file: string;
  readonly #monotonicMs: () => number;
  readonly #frozen = new Set<QubeName>();
  readonly #moods = new Map<QubeName, Mood>();
  readonly #told = new Set<(source: QubeName) => void>();
  /** Set when the file of frozen sources could not be made sense of: then all are (I7). */
  readonly complaint: string | null = null;

  /** Frozen sources are kept in `<state>/frozen`, one name a line, so that a restart thaws nobody. */
  constructor(state: string, monotonicMs: () => number) {
    this.#file = join(state, FILE);
    this.#monotonicMs = monotonicMs;
    try {
      const names = readFileSync(this.#file, 'utf8').split('\n').filter(Boolean);
      if (!names.every(isQubeName)) throw new Error('it has a line that is no name of a qube');
      for (const name of names) this.#frozen.add(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      const why = error instanceof Error ? error.message : 'it cannot be read';
      this.complaint = `${this.#file} cannot be used (${why}), so every source counts as frozen. Mend or remove it, then restart.`;
    }
  }

  isFrozen(source: QubeName): boolean {
    return this.complaint !== null || this.#frozen.has(source);
  }

  get frozen(): readonly QubeName[] {
    return [...this.#frozen].sort();
  }

  /** Calls back on every freeze. Returns how to stop that. */
  onFreeze(told: (source: QubeName) => void): () => void {
    this.#told.add(told);
    return () => this.#told.delete(told);
  }

  /** Holds at once; throws when it could not be made to last over a restart. */
  freeze(source: QubeName): void {
    this.#frozen.add(source);
    for (const told of this.#told) told(source);
    this.#save();
  }

  /** Whether it had been frozen. Throws, and changes nothing, when it cannot be made to last. */
  thaw(source: QubeName): boolean {
    if (!this.#frozen.delete(source)) return false;
    try {
      this.#save();
    } catch (error) {
      this.#frozen.add(source);
      throw error;
    }
    return true;
  }

  /** Counts a denial; gives the rest that begins with it, in milliseconds, or null. */
  denied(source: QubeName): number | null {
    const now = this.#monotonicMs();
    const mood = this.#moodOf(source, now);
    mood.lastDenial = now;
    mood.denials = [...mood.denials.filter((at) => now - at < DENIAL_WINDOW_MS), now];
    if (mood.denials.length < DENIALS) return null;
    const rest = mood.nextRestMs;
    mood.denials = [];
    mood.restUntil = now + rest;
    mood.nextRestMs = Math.min(rest * 2, LAST_REST_MS);
    return rest;
  }

  approved(source: QubeName): void {
    this.#moods.delete(source);
  }

  /** Whether the source's next question may be shown; one that may not is counted. */
  mayAsk(source: QubeName): boolean {
    const mood = this.#moods.get(source);
    if (!mood || this.#monotonicMs() >= mood.restUntil) return true;
    mood.unasked += 1;
    return false;
  }

  /** The sources whose questions rest, and for how many milliseconds yet. */
  get resting(): readonly { readonly source: QubeName; readonly ms: number }[] {
    const now = this.#monotonicMs();
    return [...this.#moods]
      .map(([source, { restUntil }]) => ({ source, ms: restUntil - now }))
      .filter(({ ms }) => ms > 0)
      .sort((a, b) => (a.source < b.source ? -1 : 1));
  }

  /** How many questions of the source were turned away since one was last shown. Reading it begins the count anew. */
  takeUnasked(source: QubeName): number {
    const mood = this.#moods.get(source);
    const unasked = mood?.unasked ?? 0;
    if (mood) mood.unasked = 0;
    return unasked;
  }

  #moodOf(source: QubeName, now: number): Mood {
    const known = this.#moods.get(source);
    if (known && now - known.lastDenial < CALM_MS) return known;
    const mood: Mood = { denials: [], restUntil: 0, nextRestMs: FIRST_REST_MS, lastDenial: now, unasked: 0 };
    if (this.#moods.size >= MAX_SOURCES) this.#moods.delete(this.#moods.keys().next().value as QubeName);
    this.#moods.set(source, mood);
    return mood;
  }

  #save(): void {
    const unfinished = `${this.#file}.new`;
    const file = openSync(unfinished, 'w', 0o600);
    try {
      writeSync(file, this.frozen.map((name) => `${name}\n`).join(''));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, this.#file);
  }
}

// What holds a source back: frozen by the operator until thawed, or denied so often that its questions rest for a while.
import { isQubeName, type QubeName } from '../names.ts';
import type { StateFiles } from '../state-files.ts';

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
  readonly #files: StateFiles;
  readonly #monotonicMs: () => number;
  /** Each with the freeze that it is, which a later one replaces. */
  readonly #frozen = new Map<QubeName, symbol>();
  readonly #moods = new Map<QubeName, Mood>();
  readonly #told = new Set<(source: QubeName) => void>();
  #turn: Promise<unknown> = Promise.resolve();
  /** Set when the file of frozen sources could not be made sense of: then all are (I7). */
  readonly complaint: string | null = null;

  /** Frozen sources are kept in `<state>/frozen`, one name a line, so that a restart thaws nobody. */
  constructor(files: StateFiles, monotonicMs: () => number) {
    this.#files = files;
    this.#monotonicMs = monotonicMs;
    try {
      const [end, ...names] = (files.read(FILE) ?? '').split('\n').reverse();
      if (end !== '') throw new Error('its end is missing');
      if (!names.every(isQubeName)) throw new Error('it has a line that is no name of a qube');
      for (const name of names) this.#frozen.set(name, Symbol(name));
    } catch (error) {
      const why = error instanceof Error ? error.message : 'it cannot be read';
      this.complaint = `${files.pathOf(FILE)} cannot be used (${why}), so every source counts as frozen. Mend or remove it, then restart.`;
    }
  }

  isFrozen(source: QubeName): boolean {
    return this.complaint !== null || this.#frozen.has(source);
  }

  get frozen(): readonly QubeName[] {
    return [...this.#frozen.keys()].sort();
  }

  /** Calls back on every freeze. Returns how to stop that. */
  onFreeze(told: (source: QubeName) => void): () => void {
    this.#told.add(told);
    return () => this.#told.delete(told);
  }

  /** Holds at once. Rejects when it could not be made to last over a restart. */
  freeze(source: QubeName): Promise<void> {
    this.#frozen.set(source, Symbol(source));
    for (const told of this.#told) told(source);
    return this.#save(() => this.frozen);
  }

  /**
   * What ends the freeze that there is now, and no later one; null where there is none. It rejects, and changes nothing, when it
   * cannot be made to last.
   */
  thawing(source: QubeName): (() => Promise<void>) | null {
    const thawed = this.#frozen.get(source);
    if (thawed === undefined) return null;
    const isFrozenAgain = (): boolean => this.#frozen.get(source) !== thawed;
    return async () => {
      try {
        await this.#save(() => this.frozen.filter((each) => each !== source || isFrozenAgain()));
      } catch (error) {
        // It may have got as far as the file all the same.
        await this.#save(() => this.frozen).catch(() => {});
        throw error;
      }
      if (!isFrozenAgain()) this.#frozen.delete(source);
    };
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

  /** Resolves when nothing is being written any more, well or not. */
  async settled(): Promise<void> {
    await this.#turn;
  }

  /** One writing after the other, each of what is to be there by then. */
  #save(names: () => readonly QubeName[]): Promise<void> {
    const saved = this.#turn.then(async () => {
      // What could not be read is left for the operator to see.
      if (this.complaint !== null) throw new Error(this.complaint);
      const lines = names().map((name) => `${name}\n`);
      await this.#files.write(FILE, lines.join(''));
    });
    this.#turn = saved.catch(() => {});
    return saved;
  }
}

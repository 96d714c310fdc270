// What principals have used, kept over restarts: calls and questions of the last hour, and up to which time signed calls
// may have been taken. One small file per account below `<state>/principals`.
import * as z from 'zod/mini';
import { type StateFiles, stateFilesIn } from '../state-files.ts';
import { Freshness } from './freshness.ts';
import { HOUR_MINUTES, Hour } from './hour.ts';

/**
 * How far ahead of a signed call its time is written down, in milliseconds. Before a call with a later time is taken, the next
 * step is on disk; so after a crash, however sudden, everything that may have been taken is refused, at the price of calls
 * signed in the few seconds after the last one before it.
 */
export const AHEAD_MS = 5_000;
/** Counts of calls that change nothing are written down after this time at the latest, together. */
const LAZY_MS = 1_000;

const FILE_VERSION = 1;
const minutes = z
  .array(z.tuple([z.int().check(z.minimum(0)), z.int().check(z.minimum(1))]))
  .check(z.maxLength(HOUR_MINUTES + 1));
const content = z.strictObject({
  v: z.literal(FILE_VERSION),
  horizon: z.int().check(z.minimum(0)),
  calls: minutes,
  questions: minutes,
});
type Content = z.infer<typeof content>;

export interface LedgerOptions {
  readonly files?: StateFiles;
  /** Calls back after so many milliseconds. */
  readonly after?: (ms: number, work: () => void) => void;
  /** Told, in a sentence for the operator, what could not be read or written, and once per outage. */
  readonly complain?: (sentence: string) => void;
}

export class Ledger {
  readonly #accounts = new Map<string, Account>();
  readonly #desk: Desk;

  constructor(state: string, { files, after = laterUnheld, complain = () => {} }: LedgerOptions = {}) {
    this.#desk = { files: files ?? stateFilesIn(`${state}/principals`), after, complain };
  }

  /** The account of that name (`accountOf`). Read from disk at its first use in this start. */
  account(name: string): Account {
    const known = this.#accounts.get(name);
    if (known) return known;
    const account = new Account(`${name}.json`, this.#desk);
    this.#accounts.set(name, account);
    return account;
  }

  /** Writes down exactly what was used, so that the next start need not assume more. Never rejects. */
  async close(): Promise<void> {
    await Promise.all([...this.#accounts.values()].map((account) => account.close()));
  }
}

interface Desk {
  readonly files: StateFiles;
  readonly after: (ms: number, work: () => void) => void;
  readonly complain: (sentence: string) => void;
}

const laterUnheld = (ms: number, work: () => void): void => {
  setTimeout(work, ms).unref();
};

export class Account {
  readonly freshness: Freshness;
  readonly calls: Hour;
  readonly questions: Hour;
  /** Whether its file could be read. Otherwise nothing is known of what was used, and what depends on that is refused. */
  readonly isKnown: boolean;
  readonly #file: string;
  readonly #desk: Desk;
  /** Signed calls up to this time may be taken; what is on disk of it, and what shall be. */
  #horizon: number;
  #wanted: number;
  /** Uses so far, and those that are on disk. */
  #uses = 0;
  #written = 0;
  #writing: Promise<void> | null = null;
  #isWaiting = false;
  #isFailing = false;

  constructor(file: string, desk: Desk) {
    this.#file = file;
    this.#desk = desk;
    const kept = this.#read();
    this.isKnown = kept !== null;
    this.#horizon = kept?.horizon ?? 0;
    this.#wanted = this.#horizon;
    this.freshness = new Freshness(this.#horizon);
    this.calls = new Hour(kept?.calls);
    this.questions = new Hour(kept?.questions);
  }

  /** Something was counted: it is on disk soon. */
  used(): void {
    this.#uses += 1;
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#desk.after(LAZY_MS, () => {
      this.#isWaiting = false;
      void this.settled();
    });
  }

  /** A call signed at that time was taken: until `settled`, a crash could make it new again. */
  tookUpTo(time: number): void {
    if (time <= this.#horizon) return;
    this.#wanted = Math.max(this.#wanted, time + AHEAD_MS);
    this.#uses += 1;
  }

  /** Whether a call signed at that time would not be new after a crash. */
  covers(time: number): boolean {
    return time <= this.#horizon;
  }

  /**
   * Resolves when everything used so far is on disk; with false when it could not be written, or where what was used before
   * is not known: the file that could not be read is left for the operator to see.
   */
  async settled(): Promise<boolean> {
    if (!this.isKnown) return false;
    const uses = this.#uses;
    // The write that runs may have begun before the last use; the one after it has not.
    for (let tries = 0; this.#written < uses && tries < 2; tries++) {
      this.#writing ??= this.#write(this.#wanted).finally(() => {
        this.#writing = null;
      });
      await this.#writing;
    }
    return this.#written >= uses;
  }

  async close(): Promise<void> {
    await this.settled();
    const { latest } = this.freshness;
    if (this.#horizon > latest) await this.#write(latest);
  }

  async #write(horizon: number): Promise<void> {
    const uses = this.#uses;
    const kept: Content = {
      v: FILE_VERSION,
      horizon,
      calls: this.calls.minutes().map(([minute, count]) => [minute, count]),
      questions: this.questions.minutes().map(([minute, count]) => [minute, count]),
    };
    try {
      await this.#desk.files.write(this.#file, `${JSON.stringify(kept)}\n`);
      this.#horizon = horizon;
      this.#written = Math.max(this.#written, uses);
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) {
        this.#complain(`cannot be written (${message(error)}), so changes that it counts are refused. Check the disk.`);
      }
      this.#isFailing = true;
    }
  }

  #read(): Content | null {
    try {
      const text = this.#desk.files.read(this.#file);
      if (text === null) return { v: FILE_VERSION, horizon: 0, calls: [], questions: [] };
      const parsed = content.safeParse(JSON.parse(text));
      if (parsed.success) return parsed.data;
      this.#complain('is not what the broker wrote. Remove it, and wait four minutes before the next start.');
    } catch (error) {
      this.#complain(
        `cannot be read (${message(error)}). Mend or remove it, and wait four minutes before the next start.`,
      );
    }
    return null;
  }

  #complain(sentence: string): void {
    this.#desk.complain(`${this.#desk.files.pathOf(this.#file)} ${sentence}`);
  }
}

const message = (error: unknown): string => (error instanceof Error ? error.message : 'an unknown error');

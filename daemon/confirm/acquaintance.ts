// Which kinds of question a person has answered of each caller before. It is kept over restarts as well as it goes, and is
// never a promise: what is forgotten costs one line in a question, and nothing hangs on what is remembered.
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Kind } from './normal.ts';

/** The oldest make room. Sources, principals and kinds are few; only who enrols hundreds of principals gets here. */
export const MAX_KINDS = 4_096;
const MAX_FILE_BYTES = 1_048_576;

const FILE = 'asked';

export class Acquaintance {
  readonly #file: string;
  readonly #complain: (sentence: string) => void;
  /** In the order of their first answer. */
  readonly #known: Set<string>;
  #hasComplained = false;

  /** `<state>/asked`, one kind a line. What cannot be read there is forgotten. */
  constructor(state: string, complain: (sentence: string) => void) {
    this.#file = join(state, FILE);
    this.#complain = complain;
    this.#known = new Set(linesOf(this.#file).slice(-MAX_KINDS));
  }

  isFirst(kind: Kind): boolean {
    return !this.#known.has(lineOf(kind));
  }

  /** A person has answered one. Never throws. */
  met(kind: Kind): void {
    if (!this.isFirst(kind)) return;
    this.#known.add(lineOf(kind));
    for (const oldest of this.#known) {
      if (this.#known.size <= MAX_KINDS) break;
      this.#known.delete(oldest);
    }
    try {
      writeFileSync(`${this.#file}.new`, [...this.#known].map((line) => `${line}\n`).join(''), { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
    } catch (error) {
      if (this.#hasComplained) return;
      this.#hasComplained = true;
      const { code } = error as NodeJS.ErrnoException;
      this.#complain(`${this.#file} cannot be written (${code}): after a restart questions will be first ones again.`);
    }
  }
}

const lineOf = ({ source, principal, service, what }: Kind): string =>
  JSON.stringify([source, principal, service, what]);

const linesOf = (file: string): string[] => {
  try {
    if (statSync(file).size > MAX_FILE_BYTES) return [];
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
};

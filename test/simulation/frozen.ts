// Who is frozen, as far as it can be known outside of the broker: by the file that says so.
import { isQubeName, type QubeName } from '../../daemon/names.ts';
import type { History } from './history.ts';

export class Frozen {
  readonly #read: () => string | null;
  readonly #history: History;
  /** Sources, and since which step they are. */
  readonly since = new Map<string, number>();
  /** When that last changed, or may have. */
  readonly changed = new Map<string, number>();
  /** The text that was looked at last. */
  #seen: string | null | undefined = null;

  /** `read`: the text of the file, null where there is none. */
  constructor(read: () => string | null, history: History) {
    this.#read = read;
    this.#history = history;
  }

  /** Whether it is, and was before that step. */
  isSince(source: string, step: number): boolean {
    const since = this.since.get(source);
    return since !== undefined && since < step;
  }

  look(): void {
    const text = this.#read();
    if (text === this.#seen) return;
    this.#seen = text;
    const names = (text ?? '').split('\n').filter(isQubeName);
    for (const name of this.since.keys()) {
      if (names.includes(name as QubeName)) continue;
      this.since.delete(name);
      this.changed.set(name, this.#history.step);
    }
    for (const name of names) {
      if (this.since.has(name)) continue;
      this.since.set(name, this.#history.step);
      this.changed.set(name, this.#history.step);
    }
  }

  /** The operator asks for a freeze or a thaw. Until it is said, nobody outside knows which it is. */
  isAsked(verb: 'freeze' | 'thaw', source: string): void {
    if (verb === 'thaw') this.since.delete(source);
    this.changed.set(source, Number.POSITIVE_INFINITY);
  }

  isSaid(source: string): void {
    this.#seen = undefined;
    this.changed.set(source, this.#history.step);
  }

  /** The broker is gone, and nobody will say what became of what it was asked. */
  isUnsaid(): void {
    for (const source of this.changed.keys()) this.isSaid(source);
  }
}

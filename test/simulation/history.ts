// What happened, step by step: the digest of all of it, by which two runs are compared, and the last of it, for whoever reads why.
import { createHash } from 'node:crypto';

const LAST = 60;

export class History {
  readonly #all = createHash('sha256');
  readonly #trace: ((line: string) => void) | undefined;
  /** The newest last; at least `LAST` of them, where there were as many. */
  readonly last: string[] = [];
  /** The number of the step that is made. */
  step = 0;

  constructor(trace: ((line: string) => void) | undefined) {
    this.#trace = trace;
  }

  readonly tell = (line: string): void => {
    const text = `${this.step} ${line}`;
    this.#all.update(text);
    this.last.push(text);
    if (this.last.length > LAST * 2) this.last.splice(0, LAST);
    this.#trace?.(text);
  };

  /** Of all that happened, in its order. Nothing can be told after it. */
  digest(): string {
    return this.#all.digest('hex');
  }
}

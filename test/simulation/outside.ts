// What the broker waits for: every answer from outside of it is held here until chance lets it go, one at a time, so that
// each seed is one order of all that happens at once. A kill drops what is held, and whatever is asked for afterwards.
import type { Chance } from './chance.ts';

interface Held {
  readonly what: string;
  readonly go: () => void;
  /** Of an operation on something outside that goes on without the broker: does it, without anybody to tell. */
  readonly unheard: (() => void) | null;
}

export class Outside {
  readonly #chance: Chance;
  readonly #told: (what: string) => void;
  /** So often an answer comes at once. */
  readonly #quick: number;
  #held: Held[] = [];
  #dead = false;
  /** So often an operation is where the broker dies. */
  deadly = 0;

  constructor(chance: Chance, quick: number, told: (what: string) => void) {
    this.#chance = chance;
    this.#quick = quick;
    this.#told = told;
  }

  get held(): number {
    return this.#held.length;
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** The result of `work`, which is begun when chance has it; never, when the broker is killed before. */
  wait<T>(what: string, work: () => T | Promise<T>, goesOnAlone = false): Promise<T> {
    if (this.#dead) return new Promise(() => {});
    if (this.deadly > 0 && this.#chance.is(this.deadly)) {
      this.#told(`killed at ${what}`);
      this.#dead = true;
      if (goesOnAlone && this.#chance.is(0.5)) void unheard(work);
      return new Promise(() => {});
    }
    if (this.#chance.is(this.#quick)) {
      this.#told(what);
      return this.#answer(work);
    }
    return new Promise((resolve, reject) => {
      const go = (): void => {
        this.#answer(work).then(resolve, reject);
      };
      this.#held.push({ what, go, unheard: goesOnAlone ? () => void unheard(work) : null });
    });
  }

  /** What was done is done, but nobody hears of it after a kill. */
  async #answer<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      const result = await work();
      return this.#dead ? await new Promise<T>(() => {}) : result;
    } catch (error) {
      if (this.#dead) await new Promise(() => {});
      throw error;
    }
  }

  /** Lets one of them go. */
  release(): void {
    const [next] = this.#held.splice(this.#chance.below(this.#held.length), 1);
    if (!next) return;
    this.#told(next.what);
    next.go();
  }

  /** The broker is gone. Of what it had asked others for, some is done all the same. */
  kill(): void {
    this.#dead = true;
    for (const { what, unheard } of this.#held.splice(0)) {
      if (unheard && this.#chance.is(0.5)) {
        this.#told(`unheard ${what}`);
        unheard();
      }
    }
  }
}

const unheard = async <T>(work: () => T | Promise<T>): Promise<void> => {
  try {
    await work();
  } catch {
    // Nobody is there to hear it.
  }
};

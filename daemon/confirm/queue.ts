// I9: one question on the screen, 4 waiting per source, 16 waiting in all; what is over is turned away at once.

export const MAX_WAITING_PER_SOURCE = 4;
export const MAX_WAITING = 16;

/** Whose question it is and about what, for the operator. */
export interface Asker {
  readonly source: string;
  readonly principal: string;
  readonly service: string;
  readonly action: string;
  /** The qubes it is about. */
  readonly names: readonly string[];
}

interface Waiting {
  readonly asker: Asker;
  readonly go: (turn: boolean) => void;
}

export class QuestionQueue {
  #current: Asker | null = null;
  #closed = false;
  readonly #waiting: Waiting[] = [];

  /**
   * Runs `work` when no other question is open: in the order of asking, but for a source that has just had its turn, which
   * lets one of another source go before its own next. `waited` tells it whether time passed since.
   * Gives null without running it when the queue is full or closed.
   */
  async turn<T>(asker: Asker, work: (waited: boolean) => Promise<T>): Promise<T | null> {
    const waited = this.#current !== null;
    if (this.#closed || (waited && !(await this.#wait(asker)))) return null;
    this.#current = asker;
    try {
      return await work(waited);
    } finally {
      const next = this.#takeNext(asker.source);
      // The next one has the turn from now on, so that nobody comes in between.
      this.#current = next?.asker ?? null;
      next?.go(true);
    }
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Who has the turn, if anybody, and who waits, in order. */
  get askers(): { readonly current: Asker | null; readonly waiting: readonly Asker[] } {
    return { current: this.#current, waiting: this.#waiting.map(({ asker }) => asker) };
  }

  /** Turns everybody away who waits, and everybody who comes. */
  close(): void {
    this.#closed = true;
    for (const { go } of this.#waiting.splice(0)) go(false);
  }

  /** No source can keep the screen by always having more to ask. */
  #takeNext(source: string): Waiting | undefined {
    const other = this.#waiting.findIndex(({ asker }) => asker.source !== source);
    return this.#waiting.splice(Math.max(0, other), 1)[0];
  }

  #wait(asker: Asker): Promise<boolean> {
    const ofSource = this.#waiting.filter((other) => other.asker.source === asker.source).length;
    if (ofSource >= MAX_WAITING_PER_SOURCE || this.#waiting.length >= MAX_WAITING) return Promise.resolve(false);
    return new Promise((go) => this.#waiting.push({ asker, go }));
  }
}

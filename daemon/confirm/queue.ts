// I9: one question on the screen, 4 waiting per source, 16 waiting in all; what is over is turned away at once.

export const MAX_WAITING_PER_SOURCE = 4;
export const MAX_WAITING = 16;

interface Waiting {
  readonly source: string;
  readonly go: (turn: boolean) => void;
}

export class QuestionQueue {
  #busy = false;
  #closed = false;
  readonly #waiting: Waiting[] = [];

  /**
   * Runs `work` when no other question is open, in the order of asking. `waited` tells it whether time passed since.
   * Gives null without running it when the queue is full or closed.
   */
  async turn<T>(source: string, work: (waited: boolean) => Promise<T>): Promise<T | null> {
    const waited = this.#busy;
    if (this.#closed || (waited && !(await this.#wait(source)))) return null;
    this.#busy = true;
    try {
      return await work(waited);
    } finally {
      const next = this.#waiting.shift();
      if (next) next.go(true);
      else this.#busy = false;
    }
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Turns everybody away who waits, and everybody who comes. */
  close(): void {
    this.#closed = true;
    for (const { go } of this.#waiting.splice(0)) go(false);
  }

  #wait(source: string): Promise<boolean> {
    const ofSource = this.#waiting.filter((other) => other.source === source).length;
    if (ofSource >= MAX_WAITING_PER_SOURCE || this.#waiting.length >= MAX_WAITING) return Promise.resolve(false);
    return new Promise((go) => this.#waiting.push({ source, go }));
  }
}

// Operations on one qube run one after the other, operations on different qubes side by side (R19).

/** Runs work under a set of keys; work that shares a key waits for all that came before it. */
export class Serial {
  readonly #tails = new Map<string, Promise<void>>();

  /** Whether work with any of these keys runs or waits. */
  isBusy(keys: readonly string[]): boolean {
    return keys.some((key) => this.#tails.has(key));
  }

  /** All keys are taken in one step, so no two calls can each hold what the other waits for. */
  async run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const before = keys.map((key) => this.#tails.get(key));
    let done = (): void => {};
    const tail = new Promise<void>((resolve) => {
      done = resolve;
    });
    for (const key of keys) this.#tails.set(key, tail);
    try {
      await Promise.all(before);
      return await work();
    } finally {
      for (const key of keys) if (this.#tails.get(key) === tail) this.#tails.delete(key);
      done();
    }
  }
}

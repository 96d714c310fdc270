// Where a broker in this process can be killed: every wait for something outside of it passes a gate, before and after. From
// the step on at which it is killed nothing passes any more, as if the process were gone; what is outside stays as it is.

export class Gate {
  /** The steps so far, in words. */
  readonly steps: string[] = [];
  #killAt = Number.POSITIVE_INFINITY;
  #dead = false;
  #die = (): void => {};
  /** Resolves when it is killed. */
  readonly killed = new Promise<void>((resolve) => {
    this.#die = resolve;
  });

  get isDead(): boolean {
    return this.#dead;
  }

  /** Counts from now on, and kills at that step, from 0. */
  arm(killAt: number): void {
    this.steps.length = 0;
    this.#killAt = killAt;
  }

  async pass<T>(what: string, work: () => Promise<T>): Promise<T> {
    await this.#step(`before ${what}`);
    try {
      const result = await work();
      await this.#step(`after ${what}`);
      return result;
    } catch (error) {
      await this.#step(`after ${what} failed`);
      throw error;
    }
  }

  /** A single point at which it can be killed. */
  async point(what: string): Promise<void> {
    await this.#step(what);
  }

  #step(what: string): Promise<void> | undefined {
    if (!this.#dead && this.steps.push(what) > this.#killAt) {
      this.#dead = true;
      this.#die();
    }
    return this.#dead ? new Promise(() => {}) : undefined;
  }
}

// Time that passes only when the simulation says so. While it runs, the timers of the whole process are its timers, so that
// what arms one by itself (a window of events, a deadline) is on the same clock as what was given one.

export const HOUR_MS = 3_600_000;

interface Timer {
  readonly due: number;
  readonly number: number;
  readonly run: () => void;
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setImmediate: globalThis.setImmediate,
};

/** Resolves when everything that is ready to run has run, callbacks and promises. */
export const idle = (): Promise<void> => new Promise((resolve) => real.setImmediate(resolve));

export class Clock {
  /** Milliseconds. */
  #mono = 1_000;
  #offset: number;
  #timers: Timer[] = [];
  #count = 0;

  constructor(startMs: number) {
    this.#offset = startMs;
  }

  readonly now = (): number => Math.floor(this.#mono + this.#offset);
  readonly monotonicMs = (): number => this.#mono;

  after = (ms: number, run: () => void): (() => void) => {
    const timer: Timer = { due: this.#mono + Math.max(0, ms), number: this.#count++, run };
    this.#timers.push(timer);
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at >= 0) this.#timers.splice(at, 1);
    };
  };

  /** Lets time pass. What is due runs, in the order in which it is. */
  pass(ms: number): void {
    const until = this.#mono + ms;
    for (;;) {
      const next = this.#next();
      if (next === null || next.due > until) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#mono = Math.max(this.#mono, next.due);
      next.run();
    }
    this.#mono = until;
  }

  /** How long until the next timer, null where there is none. */
  untilNext(): number | null {
    const next = this.#next();
    return next === null ? null : Math.max(0, next.due - this.#mono);
  }

  /** The wall clock is set, as people and NTP do it; the monotonic one does not notice. */
  set(byMs: number): void {
    this.#offset += byMs;
  }

  /** What waits for a time of a process that is gone. */
  forget(): void {
    this.#timers = [];
  }

  #next(): Timer | null {
    let next: Timer | null = null;
    for (const timer of this.#timers) {
      if (next === null || timer.due < next.due || (timer.due === next.due && timer.number < next.number)) next = timer;
    }
    return next;
  }

  /** Puts this clock, and `immediately`, in the place of the process's own. Gives what undoes that. */
  install(immediately: (run: () => void) => void): () => void {
    const handle = (callOff: () => void) => ({ callOff, unref: () => {}, ref: () => {}, hasRef: () => true });
    Object.assign(globalThis, {
      setTimeout: (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
        handle(this.after(ms, () => run(...args))),
      clearTimeout: (timer?: { callOff?: () => void }) => timer?.callOff?.(),
      setImmediate: (run: (...args: unknown[]) => void, ...args: unknown[]) => {
        immediately(() => run(...args));
        return handle(() => {});
      },
    });
    return () => void Object.assign(globalThis, real);
  }
}

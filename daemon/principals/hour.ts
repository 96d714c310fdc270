// How often something happened within the last hour. Pure but for the counts.

const MINUTE_MS = 60_000;
export const HOUR_MINUTES = 60;

/** Counts by minute, as they are kept on disk: the minute since 1970, and how often. */
export type Minutes = readonly (readonly [minute: number, count: number])[];

export class Hour {
  #minutes = new Map<number, number>();

  constructor(minutes: Minutes = []) {
    for (const [minute, count] of minutes) this.#minutes.set(minute, (this.#minutes.get(minute) ?? 0) + count);
  }

  /** What happened in the minute of `now` and the 60 before it. */
  count(now: number): number {
    this.#settle(Math.floor(now / MINUTE_MS));
    return [...this.#minutes.values()].reduce((sum, count) => sum + count, 0);
  }

  add(now: number): void {
    const minute = Math.floor(now / MINUTE_MS);
    this.#settle(minute);
    this.#minutes.set(minute, (this.#minutes.get(minute) ?? 0) + 1);
  }

  minutes(): Minutes {
    return [...this.#minutes];
  }

  /** Forgets what is over. What a clock that went back makes future counts as just now, so that it is over in an hour too. */
  #settle(present: number): void {
    for (const [minute, count] of this.#minutes) {
      if (minute > present) {
        this.#minutes.delete(minute);
        this.#minutes.set(present, (this.#minutes.get(present) ?? 0) + count);
      } else if (minute < present - HOUR_MINUTES) this.#minutes.delete(minute);
    }
  }
}

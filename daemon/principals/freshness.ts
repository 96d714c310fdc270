// Whether a signed call is a new one. A number counts once; what is too old to be remembered is too old to be taken. Pure
// but for what it remembers.

/** How far a caller's clock may be from ours, in milliseconds. */
export const SKEW_MS = 120_000;
/** Numbers remembered for one principal: more calls than this within four minutes are refused. */
export const NUMBERS_MAX = 8_192;

/** Two generations of numbers: the older one is dropped whole, when no call in it could pass by its time any more. */
export class Freshness {
  #young = new Set<string>();
  #old = new Set<string>();
  /** The latest time of a call in each. */
  #youngLatest = 0;
  #oldLatest = 0;
  #turnedAt: number | null = null;
  /** No call that was signed at this time or before is new: its number may have been forgotten. */
  #floor: number;

  /** `floor`: the latest time that a call before this start of the broker may have had, in milliseconds since 1970. */
  constructor(floor: number) {
    this.#floor = floor;
  }

  /** The latest time of all calls taken, or that may have been. */
  get latest(): number {
    return Math.max(this.#floor, this.#oldLatest, this.#youngLatest);
  }

  /** Whether a call signed at `time` with this number can be new. Changes nothing, so that it may be asked of a forged one. */
  isNew(time: number, number: string, now: number): boolean {
    this.#turn(now);
    return (
      Math.abs(time - now) <= SKEW_MS &&
      time > this.#floor &&
      !this.#young.has(number) &&
      !this.#old.has(number) &&
      this.#young.size + this.#old.size < NUMBERS_MAX
    );
  }

  /** From now on it is not. */
  take(time: number, number: string): void {
    this.#young.add(number);
    this.#youngLatest = Math.max(this.#youngLatest, time);
  }

  /**
   * The clock may go back, and with it what is old becomes acceptable again: so what is forgotten is refused by its time
   * forever, and not only for as long as the skew says.
   */
  #turn(now: number): void {
    this.#turnedAt ??= now;
    const age = now - this.#turnedAt;
    if (age >= 0 && age <= 2 * SKEW_MS) return;
    this.#turnedAt = now;
    // With the clock gone back nothing is forgotten, it only ages anew.
    if (age < 0) return;
    this.#floor = Math.max(this.#floor, this.#oldLatest);
    this.#old = this.#young;
    this.#oldLatest = this.#youngLatest;
    this.#young = new Set();
    this.#youngLatest = 0;
  }
}

// How rough an episode is: some are calm, so that what is seldom can happen undisturbed.
import type { Chance } from './chance.ts';

/** Probabilities, but for the last two. */
export interface Weather {
  /** An answer comes at once. */
  readonly quick: number;
  /** qubesd fails. */
  readonly faults: number;
  /** Something happens beside calls. */
  readonly acts: number;
  /** An operation is where the broker dies. */
  readonly deadly: number;
  /** A new qube can neither be pinned nor removed. */
  readonly stubborn: number;
  /** Events come in another order, or not at all. */
  readonly reorders: boolean;
  /** Somebody is at the journal, between lives. */
  readonly tampers: boolean;
}

export const A_DAY: Weather = {
  ...{ quick: 0.9, faults: 0.002, acts: 0, deadly: 0.000_001, stubborn: 0.1 },
  ...{ reorders: false, tampers: false },
};

export const anyWeather = (chance: Chance): Weather => {
  const tampers = chance.is(0.1);
  return {
    quick: chance.pick([0, 0.5, 0.8, 0.9, 0.95]),
    faults: chance.pick([0, 0, 0.002, 0.01, 0.03]),
    acts: chance.pick([0.005, 0.02, 0.05]),
    // Of many lives, so that there is something between them.
    deadly: tampers ? 0.001 : chance.pick([0, 0.0003, 0.001]),
    stubborn: chance.pick([0, 0, 0.5]),
    reorders: chance.is(0.2),
    tampers,
  };
};

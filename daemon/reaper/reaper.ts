// The reaper's clock: when a pass begins. Pressure of any kind never triggers one (contract section 4).
import { type KnownVerdicts, type PassParts, pass } from './pass.ts';

export const FIRST_PASS_MS = 15 * 60_000;
export const EVERY_MS = 60 * 60_000;
export const JITTER_MS = 5 * 60_000;

export interface ReaperParts extends PassParts {
  /** From 0 up to, but not including, 1. */
  readonly random: () => number;
  /** Runs work once after so many milliseconds; gives what calls that off. */
  readonly after: (ms: number, work: () => void) => () => void;
  /** A pass that could not be finished; the next one tries again. */
  readonly failed: (error: unknown) => void;
}

/**
 * Starts the clock. A pass begins 15 minutes after the start and an hour after the end of each, so that two never overlap;
 * each time up to 5 minutes later, by chance. `stopping` ends it. Gives what resolves when no pass is under way.
 */
export const startReaper = (parts: ReaperParts): (() => Promise<void>) => {
  const { stopping, random, after, failed } = parts;
  const known: KnownVerdicts = new Map();
  let underway = Promise.resolve();
  let callOff = (): void => {};

  const schedule = (ms: number): void => {
    if (!stopping.aborted) callOff = after(ms + Math.floor(random() * JITTER_MS), run);
  };
  const run = (): void => {
    underway = pass(parts, known)
      .catch(failed)
      .then(() => schedule(EVERY_MS));
  };
  stopping.addEventListener('abort', () => callOff());
  schedule(FIRST_PASS_MS);
  return () => underway;
};

// Property tests with fewer runs: a mutant that only the ten thousandth run would find is one that a reader has to look at.
// And without the search for a smaller example that fails too: that there is one is all that is asked here. One run that
// waits for ever has failed, whatever time the test itself is given for all of them.
import type fastCheck from 'fast-check';
import { vi } from 'vitest';

const RUNS = 150;
const RUN_MS = 3_000;

vi.mock('fast-check', async (original) => {
  const real = await original<{ default: typeof fastCheck }>();
  const assert = (property: unknown, settings?: { numRuns?: number }): unknown =>
    real.default.assert(
      property as never,
      { ...settings, numRuns: Math.min(settings?.numRuns ?? RUNS, RUNS), endOnFailure: true, timeout: RUN_MS } as never,
    );
  return { ...real, assert, default: { ...real.default, assert } };
});

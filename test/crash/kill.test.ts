// The broker killed at every wait between a call and the end of its last record, by a signal or with the power, and started
// again on what that left: I1 to I4, I7 and I8 hold, and nothing is done twice.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Stage } from './harness.ts';
import { SCENARIOS } from './scenarios.ts';

describe.each(SCENARIOS)('$title', (scenario) => {
  let stage: Stage;
  let unsynced: readonly number[] = [];
  beforeAll(async () => {
    stage = await Stage.open(scenario);
  });
  afterAll(() => stage.close());

  test('is done or not done and the journal says which, when the process is killed at any step', async () => {
    expect(stage.steps.length).toBeGreaterThan(15);
    unsynced = await stage.killAtEach();
  }, 60_000);

  test.each([
    ['nothing', () => 0],
    ['half', (bytes: number) => bytes >> 1],
    ['all but a byte', (bytes: number) => bytes - 1],
  ])('is so, too, when the power goes at any step, and %s that was not synced is left', async (_, survives) => {
    expect(unsynced.length).toBeGreaterThan(3);
    await stage.cutPowerAt(unsynced, survives);
  });
});

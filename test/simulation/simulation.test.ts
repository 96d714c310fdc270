// The simulation itself: one seed is one history, what is broken is found, and what is not broken is not.
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { BREAKS } from './breaks.ts';
import { runEpisode } from './episode.ts';
import { failureText, simulate } from './simulate.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** One seed of its own, so that a change fails by what it changed; long runs take others. */
const SEED = '20260131';
const CALLS = 200_000;

describe('an episode', () => {
  test.each([1, 2, 3])('is the same each time, and another under another seed (%i)', async (episode) => {
    const [once, again, other] = [
      await runEpisode({ seed: SEED, episode, calls: 250 }),
      await runEpisode({ seed: SEED, episode, calls: 250 }),
      await runEpisode({ seed: `${SEED}0`, episode, calls: 250 }),
    ];
    expect(once.digest).toBe(again.digest);
    expect(once).toEqual(again);
    expect(other.digest).not.toBe(once.digest);
  });

  test('that breaks an invariant says how to see it again, and then shows the same', async () => {
    const breaks = BREAKS.find(({ title }) => title === 'the built-in consent set is not asked');
    if (!breaks) throw new Error('there is no such break');
    const { failed } = await simulate({ seed: SEED, calls: 5_000, breaks: breaks.of });
    if (!failed) throw new Error('it was not found');
    const { episode, at, violations } = failed;
    expect(failureText(SEED, failed)).toContain(`npm run simulate -- --seed ${SEED} --episode ${episode} --trace`);
    const again = await runEpisode({ seed: SEED, episode, calls: 500, breaks: breaks.of });
    expect(again).toMatchObject({ at, violations });
  });
});

describe('what is broken on purpose is found', () => {
  test.each(BREAKS)('$title', { timeout: 300_000 }, async ({ of, invariant }) => {
    const { failed } = await simulate({ seed: SEED, calls: 40_000, breaks: of });
    expect(failed?.violations[0]).toMatch(invariant);
  });
});

/** In a process of its own, which has its threads and its timers to itself. */
const simulated = async (...args: string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--experimental-async-context-frame',
    MAIN,
    ...args,
  ]).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? String(error) }));
  return stdout;
};

test('a day of two busy agents, hour by hour on the simulated clock, breaks no invariant', async () => {
  const told = await simulated('--seed', SEED, '--hours', '24');
  expect(told).toContain('"hours":24');
  expect(told).toContain('"failed":null');
}, 600_000);

test(`${CALLS} calls, with everything that can happen to a broker meanwhile, break no invariant`, async () => {
  const workers = String(Math.min(2, availableParallelism()));
  expect(await simulated('--seed', SEED, '--calls', String(CALLS), '--workers', workers)).toContain('"failed":null');
}, 1_200_000);

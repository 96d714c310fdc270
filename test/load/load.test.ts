// Small loads for every run of the tests: they count and never time. The numbers are for `npm run load`.
import { expect, onTestFinished, test } from 'vitest';
import { MAX_CONNECTIONS } from '../../daemon/qrexec/door.ts';
import { randomOf } from '../fuzz/random.ts';
import { mixed, verified } from './day.ts';
import { flooded } from './flood.ts';
import { FLOODS } from './floods.ts';
import { type LoadPlace, startLoadPlace } from './place.ts';
import { footprint } from './proc.ts';
import { turns } from './questions.ts';
import { anyKind, DAY } from './traffic.ts';
import { countOf } from './worker.ts';

const started = async (consentPolicy: string): Promise<LoadPlace> => {
  const at = await startLoadPlace(consentPolicy);
  onTestFinished(() => at.end());
  return at;
};

const CALLS = 30;
/** What the daemon has open besides connections of callers: its files, sockets, and calls to qubesd. */
const OWN_DESCRIPTORS = 200;

test.each(FLOODS.map(({ what }, index) => [what, index] as const).filter((_, index) => index !== 1))(
  '%s do not cost another source one of its calls',
  { timeout: 60_000 },
  async (_, index) => {
    const { place, pid } = await started('# nothing is asked\n');
    const seen = await flooded(place.door, pid, index, () => {
      let left = CALLS;
      return () => left-- > 0;
    });
    expect(Object.fromEntries(seen.flooded.replies)).toEqual({ ok: CALLS });
    expect(countOf(seen.flood)).toBeGreaterThan(CALLS);
    expect(seen.most.descriptors).toBeLessThan(MAX_CONNECTIONS + OWN_DESCRIPTORS);
  },
);

test('a source that asks without an end does not keep another one from its turn', { timeout: 60_000 }, async () => {
  const { done, refused, passed, floodAsked } = await turns(await started('*\n'), 5);
  expect({ done, refused }).toEqual({ done: 5, refused: 0 });
  expect(passed).toBeLessThanOrEqual(2);
  expect(floodAsked).toBeGreaterThan(5);
});

test('mixed traffic is answered as expected, journalled whole, and leaves nothing open', {
  timeout: 60_000,
}, async () => {
  const { place, pid, log } = await started('# nothing is asked\n');
  const parts = { callers: 8, random: randomOf(3) };
  await mixed(place.door, pid, { ...parts, calls: 200 });
  const before = footprint(pid);
  const { unexpected, byKind } = await mixed(place.door, pid, { ...parts, calls: 2_000 });
  expect(unexpected).toEqual([]);
  expect([...byKind.values()].reduce((sum, each) => sum + each)).toBe(2_000);
  await expect.poll(() => footprint(pid).descriptors).toBeLessThanOrEqual(before.descriptors);
  await expect.poll(async () => (await verified(log)).ok).toBe(true);
});

test('every kind of call of a day comes up', () => {
  const random = randomOf(5);
  const seen = new Set(Array.from({ length: 20_000 }, () => anyKind(random).what));
  expect([...seen].sort()).toEqual(DAY.map(({ what }) => what).sort());
});

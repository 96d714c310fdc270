// A small round of the measurement for every run of the tests. What time it takes is for `npm run bench:timing` to say; here
// every reason must give the same bytes, and the statistics must find what there is to find.
import { describe, expect, test } from 'vitest';
import { MAX_CALLS_PER_SOURCE } from '../../daemon/qrexec/door.ts';
import { SERVICES } from '../../daemon/services/registry.ts';
import { randomOf } from '../fuzz/random.ts';
import { CASES } from './cases.ts';
import { rounds, startPlace } from './measure.ts';
import { medianInterval, medianOf, signTest } from './statistics.ts';

const ROUNDS = 6;

test('at the socket every reason gives the same reply, by every service', { timeout: 60_000 }, async () => {
  const place = await startPlace();
  try {
    for (const of of CASES) {
      const times = await rounds({
        ...{ path: place.door, of, random: randomOf(1), callers: 2 },
        goesOn: (begun) => begun < ROUNDS,
      });
      for (const reason of of.reasons) expect(times[reason]).toHaveLength(ROUNDS);
    }
  } finally {
    await place.end();
  }
});

test('every service that names a qube is measured', () => {
  const measured = CASES.map(({ service }) => service).filter((service) => service !== 'qmcp.Prepare');
  const others = ['qmcp.ListAIManagedQubes', 'qmcp.GetPoolStats'];
  expect([...measured, ...others].sort()).toEqual([...SERVICES.keys()].sort());
  expect(MAX_CALLS_PER_SOURCE).toBeGreaterThan(8);
});

describe('the statistics', () => {
  const random = randomOf(7);
  const noise = (count: number, shift: number): number[] =>
    Array.from({ length: count }, () => (random.below(2_001) - 1_000) / 1_000 + shift);

  test.each([200, 20_000])('find nothing where there is nothing, in %i pairs', (count) => {
    const differences = noise(count, 0);
    const [low, high] = medianInterval(differences, random);
    expect(signTest(differences)).toBeGreaterThan(0.001);
    expect(low).toBeLessThan(0.02);
    expect(high).toBeGreaterThan(-0.02);
  });

  test.each([200, 20_000])('find a small shift, in %i pairs', (count) => {
    const differences = noise(count, 0.3);
    const [low, high] = medianInterval(differences, random);
    expect(signTest(differences)).toBeLessThan(1e-4);
    // Within four times the spread of a median of so many.
    expect(low).toBeGreaterThan(0.3 - 4 / Math.sqrt(count));
    expect(high).toBeLessThan(0.3 + 4 / Math.sqrt(count));
    expect(medianOf(differences)).toBeGreaterThan(low);
  });

  test('the sign test is exact for few, and agrees with itself where it is approximate', () => {
    expect(signTest([1, 1, 1, 1])).toBeCloseTo(0.125);
    expect(signTest([1, -1])).toBe(1);
    expect(signTest([])).toBe(1);
    const split = (above: number, below: number): number[] => [
      ...Array.from({ length: above }, () => 1),
      ...Array.from({ length: below }, () => -1),
    ];
    for (const above of [505, 530]) {
      expect(signTest(split(above, 1_000 - above))).toBeCloseTo(signTest(split(above + 1, 1_001 - above)), 2);
    }
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Freshness, NUMBERS_MAX, SKEW_MS } from '../../daemon/principals/freshness.ts';

const NOW = 1_700_000_000_000;
const number = (index: number): string => index.toString(16).padStart(32, '0');

describe('a call is new', () => {
  test('within the skew on both sides of our clock, and not beyond', () => {
    const freshness = new Freshness(0);
    for (const time of [NOW - SKEW_MS, NOW, NOW + SKEW_MS]) expect(freshness.isNew(time, number(1), NOW)).toBe(true);
    for (const time of [NOW - SKEW_MS - 1, NOW + SKEW_MS + 1])
      expect(freshness.isNew(time, number(1), NOW)).toBe(false);
  });

  test('once, whatever its time, and its number is not used up by asking', () => {
    const freshness = new Freshness(0);
    expect(freshness.isNew(NOW, number(1), NOW)).toBe(true);
    expect(freshness.isNew(NOW, number(1), NOW)).toBe(true);
    freshness.take(NOW, number(1));
    for (const time of [NOW - 5, NOW, NOW + 5]) expect(freshness.isNew(time, number(1), NOW)).toBe(false);
    expect(freshness.isNew(NOW, number(2), NOW)).toBe(true);
  });

  test('after the floor, and not at it', () => {
    const freshness = new Freshness(NOW);
    expect(freshness.isNew(NOW, number(1), NOW)).toBe(false);
    expect(freshness.isNew(NOW + 1, number(1), NOW)).toBe(true);
  });

  test('while there is room to remember it', () => {
    const freshness = new Freshness(0);
    for (let index = 0; index < NUMBERS_MAX - 1; index++) freshness.take(NOW, number(index));
    expect(freshness.isNew(NOW, number(NUMBERS_MAX), NOW)).toBe(true);
    freshness.take(NOW, number(NUMBERS_MAX));
    expect(freshness.isNew(NOW, number(NUMBERS_MAX + 1), NOW)).toBe(false);
    // The older half is let go when no call in it could pass by its time.
    expect(freshness.isNew(NOW + 2 * SKEW_MS + 1, number(NUMBERS_MAX + 1), NOW + 2 * SKEW_MS + 1)).toBe(false);
    const later = NOW + 5 * SKEW_MS;
    expect(freshness.isNew(later, number(NUMBERS_MAX + 1), later)).toBe(true);
  });
});

test('calls may come in another order than they were signed, for as long as their times allow', () => {
  const freshness = new Freshness(0);
  for (let late = 0; late < 20; late++) {
    const now = NOW + late * 1_000;
    expect(freshness.isNew(NOW - late, number(late), now)).toBe(true);
    freshness.take(NOW - late, number(late));
  }
});

test('a clock that goes back lets nothing be forgotten, and only ages it anew', () => {
  const freshness = new Freshness(0);
  freshness.isNew(NOW, number(0), NOW);
  for (let index = 0; index < NUMBERS_MAX; index++) freshness.take(NOW, number(index));
  const back = NOW - 100 * SKEW_MS;
  for (const now of [back, back - 1, back - 2]) expect(freshness.isNew(now, number(NUMBERS_MAX), now)).toBe(false);
  // What is forgotten in the end is refused by its time.
  const later = [back + 2 * SKEW_MS, back + 4 * SKEW_MS + 10, back + 6 * SKEW_MS + 20];
  for (const now of later) freshness.isNew(now, number(NUMBERS_MAX), now);
  const last = later.at(-1) ?? 0;
  expect(freshness.isNew(last, number(NUMBERS_MAX), last)).toBe(false);
  expect(freshness.isNew(NOW + 1, number(NUMBERS_MAX), NOW)).toBe(true);
});

test('a clock that went back holds nobody up who calls by it', () => {
  const freshness = new Freshness(0);
  freshness.isNew(NOW, number(0), NOW);
  freshness.take(NOW, number(0));
  for (const now of [NOW - 10, NOW - 20, NOW - 30]) expect(freshness.isNew(now, number(1), now)).toBe(true);
});

test('the latest time is that of the latest call taken, or the floor', () => {
  const freshness = new Freshness(5);
  expect(freshness.latest).toBe(5);
  freshness.isNew(NOW, number(1), NOW);
  freshness.take(NOW, number(1));
  freshness.take(NOW - 7, number(2));
  expect(freshness.latest).toBe(NOW);
  freshness.isNew(NOW, number(3), NOW + 3 * SKEW_MS);
  expect(freshness.latest).toBe(NOW);
  freshness.isNew(NOW, number(3), NOW + 6 * SKEW_MS);
  expect(freshness.latest).toBe(NOW);
});

test('a clock that goes back makes nothing new again', () => {
  const freshness = new Freshness(0);
  expect(freshness.isNew(NOW, number(1), NOW)).toBe(true);
  freshness.take(NOW, number(1));
  // Forward far enough that the number is forgotten, and back.
  for (const step of [3, 6, 9]) freshness.isNew(NOW + step * SKEW_MS, number(2), NOW + step * SKEW_MS);
  expect(freshness.isNew(NOW, number(1), NOW)).toBe(false);
  expect(freshness.isNew(NOW + 1, number(2), NOW)).toBe(true);
});

test('no clock and no order of calls lets a call through twice', () => {
  const step = fc.record({
    clock: fc.integer({ min: -10 * SKEW_MS, max: 10 * SKEW_MS }),
    offset: fc.integer({ min: -2 * SKEW_MS, max: 2 * SKEW_MS }),
    call: fc.integer({ min: 0, max: 4 }),
    again: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const freshness = new Freshness(0);
      const taken: { time: number; number: string }[] = [];
      let now = NOW;
      for (const { clock, offset, call, again } of steps) {
        now += clock;
        const earlier = taken[call];
        const { time, number: digits } =
          again && earlier ? earlier : { time: now + offset, number: number(taken.length) };
        if (!freshness.isNew(time, digits, now)) continue;
        expect(taken).not.toContainEqual({ time, number: digits });
        freshness.take(time, digits);
        taken.push({ time, number: digits });
      }
    }),
    { numRuns: 2_000 },
  );
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HOUR_MINUTES, Hour } from '../../daemon/principals/hour.ts';

const MINUTE = 60_000;
const NOW = 28_000_000 * MINUTE;

test('counts what happened within the last hour, by the minute', () => {
  const hour = new Hour();
  hour.add(NOW);
  hour.add(NOW + 59_999);
  hour.add(NOW + MINUTE);
  expect(hour.count(NOW + MINUTE)).toBe(3);
  expect(hour.count(NOW + 60 * MINUTE + 59_999)).toBe(3);
  expect(hour.count(NOW + 61 * MINUTE)).toBe(1);
  expect(hour.count(NOW + 62 * MINUTE)).toBe(0);
});

test('never counts less than there was in any sixty minutes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 * MINUTE }), { maxLength: 40 }), (gaps) => {
      const hour = new Hour();
      const times: number[] = [];
      let now = NOW;
      for (const gap of gaps) {
        now += gap;
        hour.add(now);
        times.push(now);
        expect(hour.count(now)).toBeGreaterThanOrEqual(times.filter((time) => now - time < 60 * MINUTE).length);
        expect(hour.count(now)).toBeLessThanOrEqual(times.filter((time) => now - time < 61 * MINUTE).length);
      }
      expect(hour.minutes().length).toBeLessThanOrEqual(HOUR_MINUTES + 1);
    }),
  );
});

test('keeps no more than an hour also where nobody asks how many there were', () => {
  const hour = new Hour();
  for (let minute = 0; minute < 200; minute++) hour.add(NOW + minute * MINUTE);
  expect(hour.minutes()).toHaveLength(HOUR_MINUTES + 1);
});

test('forgets nothing when the clock goes back, and is over an hour later all the same', () => {
  const hour = new Hour();
  hour.add(NOW + 100 * 24 * 60 * MINUTE);
  hour.add(NOW);
  expect(hour.count(NOW)).toBe(2);
  expect(hour.count(NOW + 60 * MINUTE)).toBe(2);
  expect(hour.count(NOW + 61 * MINUTE)).toBe(0);
});

test('is kept as it was', () => {
  const hour = new Hour();
  hour.add(NOW);
  hour.add(NOW);
  hour.add(NOW + MINUTE);
  expect(hour.minutes()).toEqual([
    [28_000_000, 2],
    [28_000_001, 1],
  ]);
  const again = new Hour(hour.minutes());
  expect(again.count(NOW + MINUTE)).toBe(3);
  expect(again.minutes()).toEqual(hour.minutes());
  expect(
    new Hour([
      [28_000_000, 1],
      [28_000_000, 2],
    ]).count(NOW),
  ).toBe(3);
});

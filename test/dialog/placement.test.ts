import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fits, placeFor } from '../../daemon/dialog/placement.ts';

const AREA = { x: 0, y: 0, width: 1280, height: 800 };
const SIZE = { width: 600, height: 400 };

const size = fc.record({ width: fc.integer({ min: 200, max: 640 }), height: fc.integer({ min: 100, max: 700 }) });
const area = fc.record({
  x: fc.integer({ min: -2000, max: 2000 }),
  y: fc.integer({ min: -500, max: 500 }),
  width: fc.integer({ min: 656, max: 4000 }),
  height: fc.integer({ min: 748, max: 2400 }),
});

test('with nothing in the way it opens in the middle, a little high', () => {
  expect(placeFor(SIZE, AREA, null)).toEqual({ x: 340, y: 141 });
});

test('it opens wholly on the monitor, wherever the pointer is', () => {
  fc.assert(
    fc.property(size, area, fc.integer(), fc.integer(), (one, on, x, y) => {
      const place = placeFor(one, on, { x, y });
      expect(place.x).toBeGreaterThanOrEqual(on.x);
      expect(place.y).toBeGreaterThanOrEqual(on.y);
      expect(place.x + one.width).toBeLessThanOrEqual(on.x + on.width);
      expect(place.y + one.height).toBeLessThanOrEqual(on.y + on.height);
    }),
  );
});

test('it never opens under the pointer where there is room beside it', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1279 }), fc.integer({ min: 0, max: 799 }), (x, y) => {
      const place = placeFor({ width: 600, height: 350 }, AREA, { x, y });
      const inside = x >= place.x && x < place.x + 600 && y >= place.y && y < place.y + 350;
      expect(inside).toBe(false);
    }),
  );
});

test('a window with its frame fits or it does not', () => {
  expect(fits({ width: 640, height: 752 }, AREA)).toBe(true);
  expect(fits({ width: 640, height: 753 }, AREA)).toBe(false);
  expect(fits({ width: 640, height: 300 }, { ...AREA, width: 656 })).toBe(true);
  expect(fits({ width: 640, height: 300 }, { ...AREA, width: 655 })).toBe(false);
});

import { expect, test } from 'vitest';
import { ASLEEP, DEAD_MS, isAwake, onFocus } from '../../daemon/dialog/deadtime.ts';

test('Allow wakes one and a half seconds after the focus came, not a moment earlier', () => {
  expect(DEAD_MS).toBe(1500);
  const wakesAt = onFocus(1000);
  expect(isAwake(wakesAt, 2499)).toBe(false);
  expect(isAwake(wakesAt, 2500)).toBe(true);
});

test('without the focus it never wakes', () => {
  expect(isAwake(ASLEEP, Number.MAX_SAFE_INTEGER)).toBe(false);
});

import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { collectGarbage } from '../daemon/heap.ts';

const dropped = (): WeakRef<object> => new WeakRef({ some: new Array(1_000).fill('garbage') });

test('garbage is gone once it was collected', async () => {
  const reference = dropped();
  // What a reference has been made to stays until the end of the turn.
  await new Promise(setImmediate);
  collectGarbage();
  expect(reference.deref()).toBeUndefined();
});

test('nobody can have garbage collected afterwards', () => {
  collectGarbage();
  expect(runInNewContext('typeof gc')).toBe('undefined');
});

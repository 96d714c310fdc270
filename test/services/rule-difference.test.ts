import fc from 'fast-check';
import { expect, test } from 'vitest';
import { difference } from '../../daemon/services/rule-difference.ts';

const lists = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 12 });

test('taking away and adding what it says leads from one list to the other, and hides nothing', () => {
  fc.assert(
    fc.property(lists, lists, (before, after) => {
      const changes = difference(before, after);
      expect(changes.filter(({ kind }) => kind !== 'added').map(({ line }) => line)).toEqual(before);
      expect(changes.filter(({ kind }) => kind !== 'removed').map(({ line }) => line)).toEqual(after);
    }),
  );
});

test('equal lists have no difference', () => {
  fc.assert(fc.property(lists, (list) => difference(list, list).every(({ kind }) => kind === 'kept')));
});

test('a rule that moves is taken away and added, since the order decides', () => {
  expect(difference(['a', 'b'], ['b', 'a']).map(({ kind, line }) => `${kind} ${line}`)).toEqual([
    'removed a',
    'kept b',
    'added a',
  ]);
});

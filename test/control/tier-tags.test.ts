import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tierOf } from '../../daemon/authority/capabilities.ts';
import { TIER_WORDS } from '../../daemon/control/protocol.ts';
import { isOpenEnded, tierSteps, tierWord } from '../../daemon/control/tier-tags.ts';
import { TIERS } from '../../daemon/settings/settings.ts';

const TAGS = ['ai-managed', 'ai-exec', 'ai-net', 'ai-full', 'ai-dump', 'qmcp-guarded', 'mine'];
const tags = fc.subarray(TAGS).map((each) => new Set(each));
const tier = fc.constantFrom(...TIER_WORDS);
const tierDefault = fc.constantFrom('full', 'ro');

const applied = (before: ReadonlySet<string>, steps: ReturnType<typeof tierSteps>): ReadonlySet<string>[] => {
  const states = [before];
  for (const step of steps) {
    const next = new Set(states.at(-1));
    if (step.do === 'add') next.add(step.tag);
    else next.delete(step.tag);
    states.push(next);
  }
  return states;
};
const worth = (set: ReadonlySet<string>, standard: 'full' | 'ro'): number => {
  const granted = tierOf(set, standard);
  return granted === null ? -1 : TIERS.indexOf(granted);
};

test('whatever the tags were, the steps lead to the tier, touch no other tag, and nothing is left to do after them', () => {
  fc.assert(
    fc.property(tags, tier, (before, wanted) => {
      const after = applied(before, tierSteps(before, wanted)).at(-1) as ReadonlySet<string>;
      expect(tierWord(after)).toBe(wanted);
      expect(tierSteps(after, wanted)).toEqual([]);
      for (const other of ['qmcp-guarded', 'mine']) expect(after.has(other)).toBe(before.has(other));
    }),
  );
});

test('at no point between do the tags grant more than before or after, nor make a managed qube a dump', () => {
  fc.assert(
    fc.property(tags, tier, tierDefault, (before, wanted, standard) => {
      const states = applied(before, tierSteps(before, wanted));
      const most = Math.max(worth(before, standard), worth(states.at(-1) as ReadonlySet<string>, standard));
      const isHybrid = (set: ReadonlySet<string>): boolean => set.has('ai-managed') && set.has('ai-dump');
      for (const state of states) {
        expect(worth(state, standard)).toBeLessThanOrEqual(most);
        expect(isHybrid(state) && !isHybrid(before)).toBe(false);
      }
    }),
  );
});

test('only untiered, and only where untiered means everything, does a tier grant more than it says', () => {
  expect(TIER_WORDS.filter((each) => isOpenEnded(each, 'full'))).toEqual(['ro']);
  expect(TIER_WORDS.filter((each) => isOpenEnded(each, 'ro'))).toEqual([]);
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  birthTags,
  birthTier,
  isControlled,
  isRestriction,
  ownerTag,
  tagChanges,
} from '../../daemon/authority/birth.ts';
import { isTag } from '../../daemon/names.ts';
import { TIERS } from '../../daemon/settings/settings.ts';

const tags = (...each: string[]): ReadonlySet<string> => new Set(each);
const born = (
  source: ReadonlySet<string>,
  ceiling: Parameters<typeof birthTags>[1] = 'none',
  principal = 'mcp-control',
) => [...birthTags(source, ceiling, principal)].sort();

describe('the tier at birth', () => {
  test('is the highest of the source, clamped to the ceiling', () => {
    expect(birthTier(tags('ai-managed', 'ai-exec', 'ai-full'), 'none')).toBe('ai-full');
    expect(birthTier(tags('ai-managed', 'ai-full'), 'net')).toBe('ai-net');
    expect(birthTier(tags('ai-managed', 'ai-full'), 'exec')).toBe('ai-exec');
    expect(birthTier(tags('ai-managed', 'ai-full'), 'ro')).toBeNull();
    expect(birthTier(tags('ai-managed', 'ai-exec'), 'full')).toBe('ai-exec');
  });

  test('is none where the source is untiered or outside the umbrella', () => {
    expect(birthTier(tags('ai-managed'), 'full')).toBeNull();
    expect(birthTier(tags('ai-full'), 'none')).toBeNull();
  });
});

describe('the tags at birth', () => {
  test('are those of the vectors', () => {
    const owned = ['ai-managed', 'qmcp-owner_mcp-control'];
    expect(born(tags('ai-managed'))).toEqual(owned);
    expect(born(tags('ai-managed', 'ai-full'))).toEqual(['ai-full', ...owned]); // S31
    expect(born(tags('ai-managed', 'ai-full'), 'exec')).toEqual(['ai-exec', ...owned]); // S75
    expect(born(tags('ai-managed', 'ai-full'), 'ro')).toEqual(owned); // S77
    expect(born(tags('ai-managed', 'qmcp-custom'))).toEqual(owned); // S98
    // K20
    expect(born(tags('ai-managed', 'qmcp-owner_other', 'qmcp-guarded', 'mylabel', 'qmcp-tombstone_5'))).toEqual([
      'ai-managed',
      'qmcp-guarded',
      'qmcp-owner_mcp-control',
    ]);
  });

  test('keep every restriction of the source and no copy-in', () => {
    const source = tags('ai-managed', 'ai-dump', 'anon-vm', 'qmcp-egress-locked_ai-tor', 'created-by-dom0');
    expect(born(source)).toEqual(['ai-managed', 'anon-vm', 'qmcp-egress-locked_ai-tor', 'qmcp-owner_mcp-control']);
  });

  test('name the owner in the characters of a tag, and someone unknown if none are left', () => {
    expect(ownerTag('mcp-control')).toBe('qmcp-owner_mcp-control');
    expect(ownerTag('a.b c\u00e9\n_1')).toBe('qmcp-owner_abc_1');
    expect(ownerTag('')).toBe('qmcp-owner_unknown');
    expect(ownerTag('\u4e2d.')).toBe('qmcp-owner_unknown');
    expect(ownerTag('a'.repeat(117))).toBe(`qmcp-owner_${'a'.repeat(117)}`);
    expect(ownerTag('a'.repeat(118))).toBe(`qmcp-owner_${'a'.repeat(117)}`);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (name) => {
        expect(isTag(ownerTag(name))).toBe(true);
      }),
    );
  });
});

describe('the changes of tags', () => {
  test('add what is missing and take what is controlled and unwanted, each in order', () => {
    // S88: a disposable inherits from its template.
    expect(
      tagChanges(
        tags('ai-full', 'ai-managed', 'mylabel'),
        birthTags(tags('ai-managed', 'ai-full'), 'ro', 'mcp-control'),
      ),
    ).toEqual({
      add: ['qmcp-owner_mcp-control'],
      remove: ['ai-full'],
    });
    expect(tagChanges(tags('qmcp-b', 'qmcp-a', 'ai-dump', 'ai-net'), tags('b', 'a'))).toEqual({
      add: ['a', 'b'],
      remove: ['ai-dump', 'ai-net', 'qmcp-a', 'qmcp-b'],
    });
  });

  test('leave foreign tags alone and, once made, leave nothing to change', () => {
    const vocabulary = [
      'ai-managed',
      'ai-exec',
      'ai-net',
      'ai-full',
      'ai-dump',
      'qmcp-guarded',
      'qmcp-x',
      'anon-vm',
      'mylabel',
      'ai-other',
    ];
    const some = fc.subarray(vocabulary).map((each) => new Set(each));
    fc.assert(
      fc.property(some, some, fc.constantFrom('none' as const, ...TIERS), (present, source, ceiling) => {
        const wanted = birthTags(source, ceiling, 'mcp-control');
        const { add, remove } = tagChanges(present, wanted);
        const after = new Set([...present, ...add].filter((tag) => !remove.includes(tag)));
        expect(tagChanges(after, wanted)).toEqual({ add: [], remove: [] });
        expect(remove.every(isControlled)).toBe(true);
        expect([...after].filter(isControlled).sort()).toEqual([...wanted].filter(isControlled).sort());
        for (const tag of ['mylabel', 'ai-other']) expect(after.has(tag)).toBe(present.has(tag));
        for (const tag of source) if (isRestriction(tag)) expect(after.has(tag)).toBe(true);
      }),
    );
  });

  test('know the controlled vocabulary from look-alikes', () => {
    for (const tag of ['ai-managed', 'ai-exec', 'ai-net', 'ai-full', 'ai-dump', 'qmcp-', 'qmcp-anything']) {
      expect(isControlled(tag)).toBe(true);
    }
    for (const tag of ['ai-manage', 'ai-managed2', 'ai-ro', 'Ai-managed', 'qmcp', 'xqmcp-', 'anon-vm', 'constructor']) {
      expect(isControlled(tag)).toBe(false);
    }
    expect(['qmcp-guarded', 'anon-vm', 'qmcp-egress-locked_', 'qmcp-egress-locked_x'].every(isRestriction)).toBe(true);
    expect(['qmcp-guarded2', 'qmcp-egress-locked', 'qmcp-owner_x', 'ai-managed'].some(isRestriction)).toBe(false);
  });
});

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { tagChanges } from '../../daemon/authority/birth.ts';
import { reaperVerdict, tombstoneMarker, tombstoneTags } from '../../daemon/authority/tombstone.ts';

const rows: { tags: string[]; retention: number | null; running: boolean; now: number; due: boolean }[] = JSON.parse(
  readFileSync(new URL('../contract/reaper-matrix.json', import.meta.url), 'utf8'),
);

describe('the reaper', () => {
  test('agrees with every row of the reaper matrix', () => {
    expect(rows.length).toBe(144);
    const wrong = rows.filter(({ tags, retention, running, now, due }) => {
      const { verdict } = reaperVerdict({ tags: new Set(tags), halted: !running, now, retention });
      return (verdict === 'due') !== due;
    });
    expect(wrong).toEqual([]);
  });

  const verdictOn = (tags: string[], rest: Partial<Parameters<typeof reaperVerdict>[0]> = {}) =>
    reaperVerdict({ tags: new Set(tags), halted: true, now: 2_000, retention: 100, ...rest });

  test('says by name why it lets a qube be', () => {
    expect(verdictOn(['qmcp-tombstone_1000'])).toEqual({ verdict: 'due', age: 1_000 });
    expect(verdictOn(['qmcp-tombstone_1000'], { retention: null })).toEqual({
      verdict: 'config-malformed',
      age: 1_000,
    });
    expect(verdictOn(['qmcp-tombstone_1000', 'ai-managed'])).toEqual({ verdict: 'stuck-in-umbrella', age: 1_000 });
    expect(verdictOn(['qmcp-tombstone_x'])).toEqual({ verdict: 'undatable', age: null });
    expect(verdictOn(['qmcp-tombstone_'])).toEqual({ verdict: 'undatable', age: null });
    expect(verdictOn(['qmcp-tombstone_-5'])).toEqual({ verdict: 'undatable', age: null });
    expect(verdictOn(['qmcp-tombstone_1000'], { halted: false })).toEqual({ verdict: 'running', age: 1_000 });
    expect(verdictOn(['qmcp-tombstone_1950'])).toEqual({ verdict: 'within-window', age: 50 });
    expect(verdictOn(['mylabel', 'xqmcp-tombstone_1'])).toEqual({ verdict: 'not-a-tombstone', age: null });
  });

  test('counts the retention to the second, from the latest marker', () => {
    expect(verdictOn(['qmcp-tombstone_1000'], { now: 1_099 }).verdict).toBe('within-window');
    expect(verdictOn(['qmcp-tombstone_1000'], { now: 1_100 }).verdict).toBe('due');
    expect(verdictOn(['qmcp-tombstone_1000', 'qmcp-tombstone_1950', 'qmcp-tombstone_x']).verdict).toBe('within-window');
  });

  test('lets a tombstone from the future be, however far', () => {
    for (const digits of ['2001', '9'.repeat(20), '9'.repeat(400)]) {
      expect(verdictOn([`qmcp-tombstone_${digits}`], { retention: 0 }).verdict).toBe('within-window');
    }
  });

  test('destroys only what is out of the umbrella, halted and marked, whatever else it carries', () => {
    const tag = fc.oneof(
      fc.constantFrom('ai-managed', 'ai-full', 'qmcp-guarded', 'qmcp-tombstone_', 'qmcp-tombstone_1e3', 'mylabel'),
      fc.nat(3_000).map((time) => `qmcp-tombstone_${time}`),
    );
    const remains = fc.record({
      tags: fc.array(tag).map((each) => new Set(each)),
      halted: fc.boolean(),
      now: fc.nat(3_000),
      retention: fc.option(fc.nat(3_000)),
    });
    fc.assert(
      fc.property(remains, (each) => {
        if (reaperVerdict(each).verdict !== 'due') return;
        expect(each.halted && !each.tags.has('ai-managed') && each.retention !== null).toBe(true);
        const buried = [...each.tags].flatMap((one) => /^qmcp-tombstone_([0-9]+)$/.exec(one)?.[1] ?? []).map(Number);
        expect(buried.length).toBeGreaterThan(0);
        for (const time of buried) expect(each.now - time).toBeGreaterThanOrEqual(each.retention ?? Infinity);
      }),
    );
  });
});

describe('a tombstone', () => {
  test('keeps restrictions and foreign tags and loses umbrella, tier, owner and older markers', () => {
    // C38
    const tags = new Set([
      'ai-managed',
      'ai-full',
      'qmcp-owner_mcp-control',
      'qmcp-guarded',
      'anon-vm',
      'qmcp-egress-locked_ai-tor',
      'qmcp-tombstone_5',
      'created-by-dom0',
      'mylabel',
    ]);
    expect(tagChanges(tags, tombstoneTags(tags, 1_700_000_000.9))).toEqual({
      add: ['qmcp-tombstone_1700000000'],
      remove: ['ai-full', 'ai-managed', 'qmcp-owner_mcp-control', 'qmcp-tombstone_5'],
    });
  });

  test('is dated by its own marker', () => {
    expect(tombstoneMarker(0)).toBe('qmcp-tombstone_0');
    expect(
      reaperVerdict({ tags: tombstoneTags(new Set(['ai-full']), 1_000), halted: true, now: 1_005, retention: 5 }),
    ).toEqual({
      verdict: 'due',
      age: 5,
    });
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KEPT_FOR_MS, MAX_BYTES, MAX_ENTRIES, MAX_PER_QUBE, UndoEntries } from '../../daemon/journal/undo-entries.ts';
import type { UndoEntry } from '../../daemon/journal/undo-entry.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';

const entryOf = (seq: number, qube = 0, at = 0): UndoEntry => ({
  seq,
  at,
  service: 'qmcp.SetPropertyAIManaged',
  source: 'mcp-control',
  principal: 'default',
  qube: { name: `ai-${qube}` as QubeName, uuid: `uuid-${qube}` as Uuid },
  change: { kind: 'property', name: 'label', before: null, after: 'red' },
});
const seqs = (entries: UndoEntries): number[] => entries.list().map(({ seq }) => seq);

describe('the entries that are kept', () => {
  test('are those of each qube up to a number, the newest of them', () => {
    const entries = new UndoEntries();
    entries.add(entryOf(1, 7), 100);
    for (let seq = 2; seq < MAX_PER_QUBE + 2; seq++) entries.add(entryOf(seq), 100);
    expect(seqs(entries)).toHaveLength(MAX_PER_QUBE + 1);
    entries.add(entryOf(1000), 100);
    expect(entries.get(2)).toBeNull();
    expect(entries.get(1)).not.toBeNull();
    expect(entries.get(1000)).not.toBeNull();
    expect(seqs(entries)).toHaveLength(MAX_PER_QUBE + 1);
  });

  test('are no more than the limit, and the qube with the most gives way', () => {
    const entries = new UndoEntries();
    let seq = 0;
    for (let qube = 0; qube < MAX_ENTRIES - 1; qube++) entries.add(entryOf(++seq, qube), 100);
    entries.add(entryOf(++seq, 5), 100);
    expect(seqs(entries)).toHaveLength(MAX_ENTRIES);
    entries.add(entryOf(++seq, MAX_ENTRIES), 100);
    expect(seqs(entries)).toHaveLength(MAX_ENTRIES);
    expect(entries.get(6)).toBeNull();
    expect(entries.get(seq)).not.toBeNull();
  });

  test('take no more room than the limit, and what is written now never gives way', () => {
    const entries = new UndoEntries();
    const most = MAX_BYTES / 4;
    for (let seq = 1; seq <= 4; seq++) entries.add(entryOf(seq, seq), most);
    expect(seqs(entries)).toEqual([1, 2, 3, 4]);
    entries.add(entryOf(5, 5), most);
    expect(seqs(entries)).toEqual([2, 3, 4, 5]);
  });

  test('give way where most room is taken, what is written now not counted, and the oldest of the qube first', () => {
    const entries = new UndoEntries();
    const unit = MAX_BYTES / 16;
    entries.add(entryOf(1, 1), 6 * unit);
    entries.add(entryOf(2, 2), 3 * unit);
    entries.add(entryOf(3, 2), 4 * unit);
    entries.add(entryOf(4, 1), 4 * unit);
    // The second has 7, the first 6 and the 4 of now.
    expect(seqs(entries)).toEqual([1, 3, 4]);
    entries.add(entryOf(5, 3), 4 * unit);
    expect(seqs(entries)).toEqual([3, 4, 5]);
  });

  test('give way in the order of their qubes where these take up the same', () => {
    const entries = new UndoEntries();
    for (let seq = 1; seq <= 4; seq++) entries.add(entryOf(seq, seq), MAX_BYTES / 4);
    entries.add(entryOf(5, 5), MAX_BYTES / 2);
    expect(seqs(entries)).toEqual([3, 4, 5]);
  });

  test('count a qube that had none left as a new one where these take up the same', () => {
    const entries = new UndoEntries();
    for (let seq = 1; seq <= 2; seq++) entries.add(entryOf(seq, seq), MAX_BYTES / 2);
    entries.remove(1);
    entries.add(entryOf(3, 1), MAX_BYTES / 2);
    entries.add(entryOf(4, 3), MAX_BYTES / 2);
    expect(seqs(entries)).toEqual([3, 4]);
  });

  test('leave the room that they took to others when they go', () => {
    const entries = new UndoEntries();
    for (let round = 0; round < 3; round++) {
      for (let seq = 1; seq <= 4; seq++) entries.add(entryOf(seq, seq), MAX_BYTES / 4);
      expect(seqs(entries)).toEqual([1, 2, 3, 4]);
      for (let seq = 1; seq <= 4; seq++) entries.remove(seq);
    }
    for (let seq = 1; seq <= MAX_PER_QUBE; seq++) entries.add(entryOf(seq), 100);
    entries.remove(MAX_PER_QUBE);
    entries.add(entryOf(MAX_PER_QUBE + 1), 100);
    expect(entries.get(1)).not.toBeNull();
  });

  test('of one qube cannot be washed away by changes to another', () => {
    const entries = new UndoEntries();
    entries.add(entryOf(1, 1), 1000);
    for (let seq = 2; seq < 3 * MAX_ENTRIES; seq++) entries.add(entryOf(seq, 2), 60_000);
    expect(entries.get(1)).not.toBeNull();
  });

  test('go when they are too old, and not a moment sooner', () => {
    const entries = new UndoEntries();
    entries.add(entryOf(1, 0, 1000), 100);
    entries.add(entryOf(2, 0, 2000), 100);
    expect(entries.expire(1000 + KEPT_FOR_MS)).toBe(false);
    expect(entries.expire(1001 + KEPT_FOR_MS)).toBe(true);
    expect(seqs(entries)).toEqual([2]);
    // A clock that was set back makes nothing older.
    expect(entries.expire(0)).toBe(false);
  });

  test('are one for each number', () => {
    const entries = new UndoEntries();
    entries.add(entryOf(1, 0), 100);
    entries.add(entryOf(1, 1), 100);
    expect(entries.list()).toEqual([entryOf(1, 1)]);
    expect(entries.remove(1)).toBe(true);
    expect(entries.remove(1)).toBe(false);
    expect(entries.list()).toEqual([]);
  });

  test('take room once for each number', () => {
    const entries = new UndoEntries();
    for (let time = 1; time <= 3; time++) entries.add(entryOf(1), MAX_BYTES / 2);
    expect(seqs(entries)).toEqual([1]);
  });

  test('stay within their limits whatever happens', () => {
    const step = fc.oneof(
      { weight: 9, arbitrary: fc.tuple(fc.nat(5), fc.integer({ min: 1, max: 262_144 })) },
      { weight: 1, arbitrary: fc.nat(200) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
        const entries = new UndoEntries();
        const sizes = new Map<number, number>();
        let seq = 0;
        for (const each of steps) {
          if (typeof each === 'number') entries.remove(each);
          else {
            const [qube, bytes] = each;
            entries.add(entryOf(++seq, qube), bytes);
            sizes.set(seq, bytes);
            expect(entries.get(seq)).not.toBeNull();
          }
          const kept = seqs(entries);
          expect(kept.reduce((sum, one) => sum + (sizes.get(one) ?? 0), 0)).toBeLessThanOrEqual(MAX_BYTES);
          expect(kept).toEqual([...kept].sort((a, b) => a - b));
        }
      }),
      { numRuns: 50 },
    );
  });
});

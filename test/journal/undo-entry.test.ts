import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseUndoLine, type UndoEntry, undoLineText } from '../../daemon/journal/undo-entry.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';

const entry: UndoEntry = {
  seq: 7,
  at: 1_800_000_000_000,
  service: 'qmcp.SetPropertyAIManaged',
  source: 'mcp-control',
  principal: 'default',
  qube: { name: 'ai-work' as QubeName, uuid: '00000000-0000-5000-8000-000000000001' as Uuid },
  change: { kind: 'property', name: 'label', before: { value: 'red' }, after: 'blue' },
};
const value = fc.oneof(fc.constant(null), fc.string({ unit: 'binary' }));
const before = fc.oneof(fc.constant(null), fc.record({ value }));
const changes: fc.Arbitrary<UndoEntry['change']> = fc.oneof(
  fc.record({ kind: fc.constant('property' as const), name: fc.constant('memory'), before, after: value }),
  fc.record({ kind: fc.constant('feature' as const), name: fc.constant('menu-items'), before, after: value }),
  fc.record({
    kind: fc.constant('firewall' as const),
    before: fc.string({ unit: 'binary' }),
    after: fc.string({ unit: 'binary' }),
  }),
  fc.record({
    kind: fc.constant('tombstone' as const),
    before: fc.array(fc.constantFrom('ai-managed', 'ai-full', 'qmcp-guarded')),
    after: fc.array(fc.constantFrom('qmcp-tombstone_1', 'qmcp-guarded')),
  }),
);

describe('a line of the undo store', () => {
  test('is one line, and says the same when it is read again, whatever the values are', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1 }), changes, (seq, change) => {
        const text = undoLineText({ kind: 'entry', entry: { ...entry, seq, change } });
        expect(text).not.toContain('\n');
        expect(parseUndoLine(text)).toEqual({ kind: 'entry', entry: { ...entry, seq, change } });
      }),
    );
    expect(parseUndoLine(undoLineText({ kind: 'spent', seq: 7 }))).toEqual({ kind: 'spent', seq: 7 });
  });

  test.each([
    ['nothing', ''],
    ['no JSON', '{"v":1'],
    ['another version', '{"v":2,"spent":7}'],
    ['no number', '{"v":1,"spent":0}'],
    ['something more', '{"v":1,"spent":7,"x":1}'],
    ['a name that is no name', line({ qube: { ...entry.qube, name: '-x' } })],
    ['a uuid that is none', line({ qube: { ...entry.qube, uuid: 'x' } })],
    ['a property that is none', line({ change: { ...entry.change, name: 'a b' } })],
    ['a feature that is none', line({ change: { ...entry.change, kind: 'feature', name: 'a+b' } })],
    ['a tag that is none', line({ change: { kind: 'tombstone', before: ['a b'], after: [] } })],
    ['a kind that there is not', line({ change: { ...entry.change, kind: 'volume' } })],
    ['no version', '{"spent":7}'],
    ['half a number', '{"v":1,"spent":1.5}'],
    ['both', `{"v":1,"spent":7,"entry":${JSON.stringify(entry)}}`],
    ['neither', '{"v":1}'],
    ['no entry', '{"v":1,"entry":{}}'],
    ['another version of an entry', JSON.stringify({ v: 2, entry })],
    ['an entry of no number', line({ seq: 0 })],
    ['an entry of half a number', line({ seq: 1.5 })],
    ['a time before all', line({ at: -1 })],
    ['half a time', line({ at: 1.5 })],
    ['a service that is no text', line({ service: 5 })],
    ['a source that is no text', line({ source: null })],
    ['a principal that is no text', line({ principal: undefined })],
    ['more in an entry', line({ x: 1 })],
    ['more in a qube', line({ qube: { ...entry.qube, x: 1 } })],
    ['no qube', line({ qube: {} })],
    ['more in a property', line({ change: { ...entry.change, x: 1 } })],
    ['more in a value', line({ change: { ...entry.change, before: { value: 'red', x: 1 } } })],
    ['no value', line({ change: { ...entry.change, before: {} } })],
    ['a value that is no text', line({ change: { ...entry.change, after: 5 } })],
    ['more in a feature', line({ change: { ...entry.change, kind: 'feature', x: 1 } })],
    ['more in a firewall', line({ change: { kind: 'firewall', before: '', after: '', x: 1 } })],
    ['firewall rules that are no text', line({ change: { kind: 'firewall', before: null, after: '' } })],
    ['new firewall rules that are no text', line({ change: { kind: 'firewall', before: '', after: 5 } })],
    ['more in a tombstone', line({ change: { kind: 'tombstone', before: [], after: [], x: 1 } })],
    ['a new tag that is none', line({ change: { kind: 'tombstone', before: [], after: ['a b'] } })],
    ['tags that are no list', line({ change: { kind: 'tombstone', before: 'a', after: [] } })],
  ])('is none with %s', (_, text) => {
    expect(parseUndoLine(text)).toBeNull();
  });

  test('may be of the first record, and of the beginning of all time', () => {
    expect(parseUndoLine(line({ seq: 1, at: 0 }))).toMatchObject({ entry: { seq: 1, at: 0 } });
    expect(parseUndoLine('{"v":1,"spent":1}')).toEqual({ kind: 'spent', seq: 1 });
    expect(parseUndoLine(line({}))).toEqual({ kind: 'entry', entry });
  });

  test('is none for any other text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(parseUndoLine(text)).toBeNull();
      }),
    );
  });
});

function line(changed: object): string {
  return JSON.stringify({ v: 1, entry: { ...entry, ...changed } });
}

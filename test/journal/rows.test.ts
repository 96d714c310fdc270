import { describe, expect, it } from 'vitest';
import { MAX_LINE_BYTES } from '../../daemon/journal/lines.ts';
import { type Row, rowOf, rowsOf } from '../../daemon/journal/rows.ts';
import type { Source } from '../../daemon/journal/sources.ts';

const row = (record: object): Row | null => rowOf(JSON.stringify(record));
const UUID = '01234567-89ab-4def-8123-456789abcdef';
const BLANK = {
  ...{ seq: null, ts: '', call: null, source: '', principal: '', service: '', action: '', qubes: [], args: '' },
  ...{ nonce: '', durationMs: null },
};

describe('the row of a record', () => {
  it('has everything the record has of what rows have, and the line itself', () => {
    const record = {
      ...{ type: 'outcome', seq: 7, ts: '2026-01-02T03:04:05.678Z', call: 3, source: 'agent', principal: 'claude' },
      ...{ service: 'qmcp.LifecycleAIManaged', action: 'start', args: { name: 'work' }, nonce: 'n', duration_ms: 12 },
      ...{ qubes: [{ role: 'target', name: 'work', uuid: UUID }], ok: true, error: null, cause: null },
    };
    expect(row(record)).toEqual({
      ...{ seq: 7, ts: '2026-01-02T03:04:05.678Z', type: 'outcome', call: 3, source: 'agent', principal: 'claude' },
      ...{ service: 'qmcp.LifecycleAIManaged', action: 'start', args: '{"name":"work"}', nonce: 'n', durationMs: 12 },
      ...{ qubes: [{ role: 'target', name: 'work', uuid: UUID }], result: 'done', detail: '' },
      line: JSON.stringify(record),
    });
  });

  it('is empty where the record has nothing, or something of another kind', () => {
    const line = '{"type":"stop"}';
    expect(rowOf(line)).toEqual({ ...BLANK, type: 'stop', result: 'stop', detail: '', line });
    const odd =
      '{"type":"stop","seq":"1","ts":2,"call":1e999,"source":null,"principal":[],"qubes":5,"nonce":0,"reason":true}';
    expect(rowOf(odd)).toEqual({ ...BLANK, type: 'stop', result: 'stop', detail: '', line: odd });
  });

  it('names the one qube of a step, and of each qube what is there', () => {
    const qube = { role: 'created', name: 'ai-new', uuid: UUID };
    expect(row({ type: 'step', step: 'create', qube })?.qubes).toEqual([qube]);
    expect(row({ type: 'step', step: 'create', qube: null })?.qubes).toEqual([]);
    expect(row({ type: 'intent', qubes: [{ name: 'work' }, 'x', null, [qube]], qube })?.qubes).toEqual([
      { role: '', name: 'work', uuid: '' },
    ]);
  });

  it.each([
    [{ type: 'decision', verdict: 'refuse', rule: 'tier' }, 'refuse', 'tier'],
    [{ type: 'question', nonce: 'n', digest: 'd' }, 'asked', ''],
    [{ type: 'answer', answer: 'denied', reason: 'bad signature' }, 'denied', 'bad signature'],
    [{ type: 'intent', digest: 'd' }, 'begun', ''],
    [{ type: 'step', step: 'create' }, 'step', 'create'],
    [{ type: 'outcome', ok: true }, 'done', ''],
    [{ type: 'outcome', ok: 'true', error: 'not found' }, 'failed', 'not found'],
    [{ type: 'outcome', ok: false, error: null, cause: 'QubesException' }, 'failed', 'QubesException'],
    [{ type: 'outcome', ok: false, error: 'failed', cause: 'timeout' }, 'failed', 'failed; timeout'],
    [{ type: 'finding', finding: 'half-done', intent_seq: 3 }, 'half-done', 'begun in record 3'],
    [{ type: 'start', version: '1.0', unfinished: 2 }, 'start', 'version 1.0, 2 unfinished'],
    [{ type: 'stop', reason: 'SIGTERM' }, 'stop', 'SIGTERM'],
    [{ type: 'settings', complaints: ['a: b', 'c: d'] }, 'settings', 'a: b; c: d'],
    [{ type: 'settings', complaints: 'a' }, 'settings', ''],
    [{ type: 'operator', verb: 'undo' }, 'operator', 'undo'],
    [{ type: 'gap', refused: 2, lost: 1 }, 'gap', '2 refused, 1 lost'],
    [{ type: 'break', reason: 'hash', kept: 'audit.broken-1' }, 'break', 'hash audit.broken-1'],
    [{ type: 'break', reason: 'gone', kept: null }, 'break', 'gone'],
    [{ type: 'torn', kept: 'audit.torn-1', bytes: 9 }, 'torn', 'audit.torn-1'],
    [{ type: 'checkpoint', key: 'abcd' }, 'checkpoint', 'key abcd'],
    [{ type: 'of a later version' }, 'of a later version', ''],
  ])('of %j says %j: %j', (record, result, detail) => {
    expect(row(record)).toMatchObject({ type: record.type, result, detail });
  });

  it.each(['', 'x', 'null', '1', '"x"', '[]', 'NaN', '[NaN]', '{"type":"stop"'])('is none of the line %j', (line) => {
    expect(rowOf(line)).toBeNull();
  });

  it('is none where its arguments are nested deeper than they can be written again', () => {
    const deep = 200_000;
    expect(rowOf(`{"type":"stop","args":${'['.repeat(deep)}${']'.repeat(deep)}}`)).toBeNull();
  });
});

describe('the row of a record of the earlier log', () => {
  it('has its service, action, arguments and qubes', () => {
    const args = { action: 'create', name: 'a', source: 'b', template: 'c', backend: 'd', frontend: 'e', other: 'f' };
    const record = { v: 1, seq: 2, ts: '2026-01-02T03:04:01Z', service: 'qmcp.X', args, ok: true, error: null };
    expect(row(record)).toEqual({
      ...{ ...BLANK, seq: 2, ts: '2026-01-02T03:04:01Z', type: 'call', service: 'qmcp.X', action: 'create' },
      ...{ args: JSON.stringify(args), result: 'done', detail: '', line: JSON.stringify(record) },
      qubes: [
        { role: 'name', name: 'a', uuid: '' },
        { role: 'source', name: 'b', uuid: '' },
        { role: 'template', name: 'c', uuid: '' },
        { role: 'backend', name: 'd', uuid: '' },
        { role: 'frontend', name: 'e', uuid: '' },
      ],
    });
  });

  it.each([
    [{ ok: true }, 'done', ''],
    [{ ok: false, error: 'not found' }, 'failed', 'not found'],
    [{ ok: 1 }, 'failed', ''],
    [{ ok: true, consent: 'denied' }, 'denied', ''],
    [{ ok: true, consent: null }, 'done', ''],
  ])('says of %j: %j, %j', (record, result, detail) => {
    expect(row({ args: {}, ...record })).toMatchObject({ result, detail });
  });

  it('has no arguments where they are no object, and no qube by a name that is no text', () => {
    expect(row({ args: ['work'], ok: true })).toMatchObject({ args: '{}', qubes: [] });
    expect(row({ args: { name: 5 }, ok: true })).toMatchObject({ args: '{"name":5}', qubes: [] });
  });

  it('is read also where Python wrote what is no JSON', () => {
    const line = '{"args":{"a":NaN,"b":[true,1.5],"c":{"d":false},"e":null,"name":"work"},"ok":true,"seq":9}';
    expect(rowOf(line)).toMatchObject({
      ...{ seq: 9, result: 'done', line, qubes: [{ role: 'name', name: 'work', uuid: '' }] },
      args: '{"a":"NaN","b":[true,1.5],"c":{"d":false},"e":null,"name":"work"}',
    });
  });
});

describe('the rows of files', () => {
  const source = (path: string, ...lines: string[]): Source => ({
    ...{ path, old: null, close: async () => {} },
    async *chunks() {
      yield Buffer.from(lines.map((line) => `${line}\n`).join(''));
    },
  });
  const read = async (...sources: Source[]) => {
    const rows: Row[] = [];
    for await (const batch of rowsOf(sources)) rows.push(...batch);
    return rows;
  };

  it('follow one another, file after file', async () => {
    const found = await read(
      source('one', '{"type":"stop","seq":1}', '{"type":"stop","seq":2}'),
      source('two', '{"type":"stop","seq":3}'),
    );
    expect(found.map(({ seq }) => seq)).toEqual([1, 2, 3]);
  });

  it('say of each line that is no record where it stands, and are none the less for it', async () => {
    const long = `{"type":"${'x'.repeat(MAX_LINE_BYTES)}"}`;
    const found = await read(source('/log/audit.jsonl', '{"type":"stop"}', 'x', long, '{"type":"stop"}'));
    expect(found.map(({ type }) => type)).toEqual(['stop', 'unreadable', 'unreadable', 'stop']);
    expect(found[1]).toEqual({
      ...BLANK,
      ...{ type: 'unreadable', result: 'unreadable', detail: 'line 2 of /log/audit.jsonl', line: '' },
    });
    expect(found[2]?.detail).toBe('line 3 of /log/audit.jsonl');
  });
});

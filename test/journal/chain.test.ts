import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonical } from '../../daemon/journal/canonical.ts';
import { draft, GENESIS, type Head, link, parseLine, verifyLine } from '../../daemon/journal/chain.ts';
import type { JournalRecord } from '../../daemon/journal/record.ts';

const STAMP = { wallMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678), monoMs: 12345.6, boot: 'b' };
const stop = (reason: string): JournalRecord => ({ type: 'stop', reason });
const lineAfter = (record: JournalRecord, prev: Head) => {
  const { line, head } = link(draft(record, STAMP), prev);
  return { text: line.slice(0, -1), head };
};

describe('a line of the chain', () => {
  it('begins at record 1 with the hash of nothing, as the log before it did', () => {
    const { text } = lineAfter(stop('x'), GENESIS);
    expect(JSON.parse(text)).toMatchObject({
      v: 2,
      seq: 1,
      prev: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      ts: '2026-01-02T03:04:05.678Z',
      mono_ms: 12346,
      boot: 'b',
      type: 'stop',
      reason: 'x',
    });
  });

  it('verifies after its predecessor and after no other', () => {
    const first = lineAfter(stop('1'), GENESIS);
    const second = lineAfter(stop('2'), first.head);
    expect(verifyLine(first.text, GENESIS)).toMatchObject({ ok: true, head: first.head });
    expect(verifyLine(second.text, first.head)).toMatchObject({ ok: true, head: second.head });
    expect(verifyLine(second.text, GENESIS)).toEqual({ ok: false, fault: 'prev', seq: 2 });
    expect(verifyLine(second.text, { ...first.head, seq: 5 })).toEqual({ ok: false, fault: 'seq', seq: 2 });
    expect(verifyLine(second.text, null)).toMatchObject({ ok: true });
  });

  it('finds its own hash also where the record holds members called hash', () => {
    const record = { type: 'operator', verb: 'v', args: { hash: 'a'.repeat(64), z: '"hash":"b",' } } as const;
    const { text, head } = lineAfter(record, GENESIS);
    expect(verifyLine(text, GENESIS)).toMatchObject({ ok: true, head });
  });

  it('is unparseable when it is not the canonical text of a whole record', () => {
    const { text } = lineAfter(stop('x'), GENESIS);
    for (const other of [
      '',
      'x',
      '{}',
      '[]',
      'null',
      ` ${text}`,
      `${text} `,
      text.replace('":"', '": "'),
      text.slice(0, -1),
    ]) {
      expect(verifyLine(other, null)).toEqual({ ok: false, fault: 'unparseable', seq: null });
    }
    expect(parseLine(text.replace('"v":2', '"v":1'))).toBeNull();
    expect(parseLine(text.replace('"seq":1', '"seq":0'))).toBeNull();
    expect(parseLine(text.replace('"type":"stop",', ''))).toBeNull();
    expect(parseLine(text.replace('"reason":"x"', '"reason":"x","reason":"x"'))).toBeNull();
  });

  it('is unparseable where it is nested so deeply that the stack does not reach', () => {
    const { text } = lineAfter(stop('x'), GENESIS);
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    expect(parseLine(text.replace('"reason":"x"', `"reason":${deep}`))).toBeNull();
  });

  it.each([
    ['v', [1, 3, '2', null]],
    ['seq', [0, -1, 1.5, '1', 2 ** 53, null]],
    ['ts', [1, null]],
    ['mono_ms', ['1', null]],
    ['boot', [1, null]],
    ['prev', [1, null, 'a'.repeat(63), 'a'.repeat(65), `x${'a'.repeat(64)}`, 'A'.repeat(64), ['a'.repeat(64)]]],
    ['hash', [1, null, 'a'.repeat(63), 'a'.repeat(65), `x${'a'.repeat(64)}`, 'A'.repeat(64), ['a'.repeat(64)]]],
    ['type', [1, null]],
  ])('is no record where its %s is missing or of another kind', (key, others) => {
    const record = JSON.parse(lineAfter(stop('x'), GENESIS).text);
    expect(parseLine(canonical(record))).toEqual(record);
    for (const other of others) expect(parseLine(canonical({ ...record, [key]: other }))).toBeNull();
    delete record[key];
    expect(parseLine(canonical(record))).toBeNull();
  });

  it('does not verify with any one byte changed', () => {
    const { text } = lineAfter(stop('stopped'), GENESIS);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.integer({ min: 0x20, max: 0x7e }), (at, code) => {
        const other = String.fromCharCode(code);
        fc.pre(other !== text[at]);
        expect(verifyLine(text.slice(0, at) + other + text.slice(at + 1), GENESIS).ok).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes a snapshot, so that an object changed afterwards cannot reach the journal', () => {
    const record = { type: 'stop', reason: 'before' };
    const taken = draft(record as JournalRecord, STAMP);
    record.reason = 'after';
    expect(JSON.parse(link(taken, GENESIS).line).reason).toBe('before');
  });

  it('keeps its own envelope whatever the record says', () => {
    const forged = { type: 'stop', reason: 'x', v: 7, ts: 't', boot: 'other', mono_ms: 1 } as unknown as JournalRecord;
    expect(verifyLine(lineAfter(forged, GENESIS).text, GENESIS)).toMatchObject({
      ok: true,
      record: { v: 2, boot: 'b', mono_ms: 12346 },
    });
    for (const key of ['seq', 'prev', 'hash']) {
      expect(() => draft({ type: 'stop', reason: 'x', [key]: 1 } as unknown as JournalRecord, STAMP)).toThrow(
        TypeError,
      );
    }
  });
});

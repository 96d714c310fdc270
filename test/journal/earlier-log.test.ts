import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../daemon/journal/chain.ts';
import { EARLIER_GENESIS, isEarlier, verifyEarlierLine } from '../../daemon/journal/earlier-log.ts';
import { dumpPython, parsePython } from '../../daemon/journal/python-json.ts';

const SAMPLE = readFileSync(new URL('earlier/sample.jsonl', import.meta.url), 'utf8')
  .split('\n')
  .slice(0, -1);

const verify = (lines: readonly string[]) => {
  let head = EARLIER_GENESIS;
  for (const line of lines) {
    const verdict = verifyEarlierLine(line, head);
    if (!verdict.ok) return verdict;
    head = verdict.head;
  }
  return head.seq;
};

describe('the log of the implementation before this one', () => {
  it('verifies as Python wrote it', () => {
    expect(SAMPLE.every(isEarlier)).toBe(true);
    expect(verify(SAMPLE)).toBe(SAMPLE.length);
  });

  it('verifies also when somebody only laid it out differently, as the original verifier does', () => {
    expect(verify([(SAMPLE[0] as string).replace('{', '{ ')])).toBe(1);
  });

  it('names what is wrong in the order parse, hash, prev, seq', () => {
    const changed = SAMPLE.with(2, (SAMPLE[2] as string).replace('1e+16', '1e+17'));
    expect(verify(changed)).toEqual({ ok: false, fault: 'hash', seq: 3 });
    expect(verify(SAMPLE.toSpliced(3, 1))).toEqual({ ok: false, fault: 'prev', seq: 5 });
    expect(verify(SAMPLE.with(1, '{'))).toEqual({ ok: false, fault: 'unparseable', seq: null });
    expect(verify(SAMPLE.with(1, '[1]'))).toEqual({ ok: false, fault: 'unparseable', seq: null });
    expect(verifyEarlierLine(SAMPLE[1] as string, { seq: 7, hash: JSON.parse(SAMPLE[0] as string).hash })).toEqual({
      ok: false,
      fault: 'seq',
      seq: 2,
    });
  });

  it('is not right where a member is missing or of another kind, whatever the hash says', () => {
    const hashed = (record: object) => {
      const hash = sha256(dumpPython(parsePython(JSON.stringify(record)) ?? expect.fail()));
      return JSON.stringify({ ...record, hash });
    };
    const { hash: prev } = EARLIER_GENESIS;
    const check = (record: object) => verifyEarlierLine(hashed(record), EARLIER_GENESIS);
    expect(check({ v: 1, prev, seq: 1 })).toMatchObject({ ok: true, head: { seq: 1 } });
    expect(check({ v: 1, prev })).toEqual({ ok: false, fault: 'seq', seq: null });
    expect(check({ v: 1, prev, seq: '1' })).toEqual({ ok: false, fault: 'seq', seq: null });
    expect(check({ v: 1, prev, seq: 1.5 })).toEqual({ ok: false, fault: 'seq', seq: null });
    expect(check({ v: 1, seq: 1 })).toEqual({ ok: false, fault: 'prev', seq: 1 });
    expect(check({ v: 1, prev: 5, seq: 1 })).toEqual({ ok: false, fault: 'prev', seq: 1 });
    expect(verifyEarlierLine(JSON.stringify({ v: 1, prev, seq: 1 }), EARLIER_GENESIS)).toEqual({
      ...{ ok: false, fault: 'hash', seq: 1 },
    });
    expect(verifyEarlierLine('"text"', EARLIER_GENESIS)).toEqual({ ok: false, fault: 'unparseable', seq: null });
  });

  it('finds each single change of a character', () => {
    for (const [index, line] of SAMPLE.entries()) {
      const at = line.indexOf('"ok":') + 5;
      const flipped = line.startsWith('true', at)
        ? line.replace('"ok":true', '"ok":false')
        : line.replace('"ok":false', '"ok":true');
      expect(verify(SAMPLE.with(index, flipped))).toEqual({ ok: false, fault: 'hash', seq: index + 1 });
    }
  });

  it('is not taken for ours, nor ours for it', () => {
    expect(isEarlier('{"v":2,"type":"stop"}')).toBe(false);
    expect(isEarlier('{"v":1,"type":"stop"}')).toBe(false);
    expect(isEarlier('garbage')).toBe(false);
    expect(isEarlier('{"v":1}')).toBe(true);
    for (const other of ['{"v":2}', '{"v":"1"}', '{"v":1.5}', '{}', '[1]', '1', '"v"'])
      expect(isEarlier(other)).toBe(false);
  });
});

import { describe, expect, it } from 'vitest';
import { type BatchInput, batchOf, MAX_BATCH_BYTES, type Sealing, type Tip } from '../../daemon/journal/batch.ts';
import { type Draft, draft, GENESIS } from '../../daemon/journal/chain.ts';
import { CHECKPOINT_EVERY, isSignedBy, publicKeyOf, readPublicKey, signerOf } from '../../daemon/journal/checkpoint.ts';
import type { JournalRecord } from '../../daemon/journal/record.ts';

const STAMP = { wallMs: 0, monoMs: 0, boot: 'b' };
const SEED = Buffer.alloc(32, 7);
const TIP: Tip = { head: GENESIS, unsigned: 0, firstSeq: 1, sinceMs: 5 };
const SEALING: Sealing = {
  signHead: (head) => signerOf(SEED).signHead(head, 0),
  draft: (record) => draft(record, STAMP),
};
const stop = (reason: string): Draft => draft({ type: 'stop', reason }, STAMP);
const make = (input: Partial<BatchInput<string>>) => {
  const batch = batchOf<string>({
    ...{ own: [], queue: [], draftOf: stop, tip: TIP, seal: null, endsSigned: () => false },
    ...input,
  });
  const lines = batch.bytes.toString().split('\n');
  expect(lines.pop()).toBe('');
  return { ...batch, records: lines.map((line) => JSON.parse(line) as JournalRecord & { seq: number }), lines };
};
const many = (count: number) => Array.from({ length: count }, (_, index) => String(index));

describe('what one write consists of', () => {
  it('is nothing where there is nothing to write, whatever would be signed', () => {
    const { bytes, lastLine, entries, tip, signed } = make({ seal: SEALING, endsSigned: () => true });
    expect({ bytes: bytes.length, lastLine, entries, tip, signed }).toEqual({
      ...{ bytes: 0, lastLine: '', entries: [], tip: TIP, signed: null },
    });
  });

  it('is the journal’s own records first, then those that wait, with their numbers and the last line', () => {
    const { records, entries, lines, lastLine, tip } = make({ own: [stop('own')], queue: ['a', 'b'] });
    expect(records).toMatchObject([
      { seq: 1, reason: 'own' },
      { seq: 2, reason: 'a' },
      { seq: 3, reason: 'b' },
    ]);
    expect(entries).toEqual([
      { entry: 'a', seq: 2 },
      { entry: 'b', seq: 3 },
    ]);
    expect(lastLine).toBe(lines.at(-1));
    expect(tip).toEqual({ head: { seq: 3, hash: JSON.parse(lastLine).hash }, unsigned: 3, firstSeq: 1, sinceMs: 5 });
  });

  it('takes no further record once it is as long as a write may be; the rest waits', () => {
    const overhead = make({ queue: [''] }).bytes.length;
    const half = 'x'.repeat(MAX_BATCH_BYTES / 2 - overhead);
    expect(make({ queue: [half, half, 'c', 'd'] }).entries).toHaveLength(2);
    expect(make({ queue: [half, half.slice(1), 'c', 'd'] }).entries).toHaveLength(3);
  });

  it('holds all of the journal’s own records, however long they are', () => {
    const { records, entries } = make({ own: [stop('x'.repeat(MAX_BATCH_BYTES)), stop('own')], queue: ['a'] });
    expect(records).toHaveLength(2);
    expect(entries).toEqual([]);
  });

  it('is measured in bytes, not in characters', () => {
    let measured = 0;
    const endsSigned = (bytes: number): boolean => {
      measured = bytes;
      return false;
    };
    const { bytes } = make({ queue: ['zwölf', '€'], seal: SEALING, endsSigned });
    expect(measured).toBe(bytes.length);
  });
});

describe('the checkpoints in a write', () => {
  it(`are every ${CHECKPOINT_EVERY}th record, counted from the one before`, () => {
    const { records, tip } = make({ queue: many(600), seal: SEALING, tip: { ...TIP, unsigned: 100 } });
    const seqs = records.filter(({ type }) => type === 'checkpoint').map(({ seq }) => seq);
    expect(seqs).toEqual([156, 412]);
    expect(tip.unsigned).toBe(602 - 412);
  });

  it('sign where the chain stood before them, and what is kept elsewhere signs the end', () => {
    const { records, tip, signed } = make({ queue: ['a', 'b'], seal: SEALING, endsSigned: (bytes) => bytes > 0 });
    const { statement, signature, key } = records[2] as JournalRecord & { type: 'checkpoint' };
    const before = records[1] as unknown as { hash: string };
    expect(JSON.parse(statement)).toMatchObject({ seq: 2, hash: before.hash });
    const keys = [readPublicKey(publicKeyOf(SEED).toString('base64')) ?? expect.fail()];
    expect(isSignedBy({ statement, signature, key }, keys)).toBe(true);
    expect(JSON.parse(signed?.statement ?? '')).toMatchObject(tip.head);
    expect(tip).toMatchObject({ head: { seq: 3 }, unsigned: 0 });
  });

  it('are made for what was written before as well, but not where nothing is unsigned', () => {
    const endsSigned = () => true;
    expect(make({ seal: SEALING, endsSigned, tip: { ...TIP, unsigned: 1 } }).records).toHaveLength(1);
    expect(make({ seal: SEALING, endsSigned }).records).toHaveLength(0);
  });

  it('are none where there is no key, or where none is due: then nothing is kept elsewhere either', () => {
    expect(make({ queue: many(600), endsSigned: () => true })).toMatchObject({ signed: null, tip: { unsigned: 600 } });
    expect(make({ queue: many(255), seal: SEALING })).toMatchObject({ signed: null, tip: { unsigned: 255 } });
  });
});

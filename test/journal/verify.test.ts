import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { canonical } from '../../daemon/journal/canonical.ts';
import { GENESIS, type Head, sha256 } from '../../daemon/journal/chain.ts';
import { readPublicKey, readStatement, type VerifyingKey } from '../../daemon/journal/checkpoint.ts';
import { openJournal } from '../../daemon/journal/journal.ts';
import { oldFiles, ROTATION } from '../../daemon/journal/rotation.ts';
import type { Source } from '../../daemon/journal/sources.ts';
import { MAX_REMARKS, type VerifyOptions, verifyJournal } from '../../daemon/journal/verify.ts';

interface Made {
  readonly files: { name: string; lines: string[] }[];
  readonly key: VerifyingKey;
  readonly anchor: Head;
}

let base: string | undefined;
let journal: Made;
let older: Made;

const stop = (reason: string) => ({ type: 'stop', reason }) as const;

/** A journal of three files, with checkpoints at the end of each, closed in good order. */
async function make(records: number, resume?: string): Promise<Made> {
  const dir = resume ?? (await mkdtemp(join(base ?? '', 'made-')));
  const [log, state] = [join(dir, 'log'), join(dir, 'state')];
  await mkdir(log, { recursive: true });
  await mkdir(state, { recursive: true });
  const rotation = { ...ROTATION, bytes: 4000 };
  const made = await openJournal({ dir: log, state, rotation, bootId: 'b', now: () => 1e12, monotonicMs: () => 1 });
  for (let i = 1; i <= records; i += 1) await made.journal.append(stop(`reason ${i}`));
  await made.journal.close();
  const names = (await readdir(log)).filter((name) => name.startsWith('audit')).sort();
  const files = await Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(join(log, name));
      const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
      return { name: name.replace('.gz', ''), lines: text.split('\n').slice(0, -1) };
    }),
  );
  const signed = JSON.parse(await readFile(join(state, 'checkpoint.json'), 'utf8'));
  const key = readPublicKey(await readFile(join(state, 'journal.pub'), 'utf8')) as VerifyingKey;
  return { files, key, anchor: readStatement(signed) as Head };
}

// Made by the first test: what is done before all tests counts as done in each of them where mutants are tried.
beforeEach(async () => {
  if (base !== undefined) return;
  base = await mkdtemp(join(tmpdir(), 'qmcp-verify-'));
  const dir = await mkdtemp(join(base ?? '', 'made-'));
  older = await make(12, dir);
  journal = await make(18, dir);
});
afterAll(() => rm(base ?? '', { recursive: true, force: true }));

const source = (name: string, text: string | Buffer): Source => ({
  path: name,
  old: oldFiles([name])[0] ?? null,
  close: async () => {},
  // In pieces of odd sizes, as a disk may give them.
  async *chunks() {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += 1013) yield bytes.subarray(at, at + 1013);
  },
});
const sources = (files: Made['files']) =>
  files.map(({ name, lines }) => source(name, lines.map((line) => `${line}\n`).join('')));
const verify = (files: Made['files'], options: Partial<VerifyOptions> = {}) =>
  verifyJournal(sources(files), {
    ...{ keys: [journal.key], anchor: journal.anchor, knownBreaks: new Set<number>(), whole: true },
    ...options,
  });
/** All lines, and the files again with another list of them, each file as long as it was where that makes sense. */
const allLines = () => journal.files.flatMap(({ lines }) => lines);
const inFiles = (lines: readonly string[]) => {
  let from = 0;
  return journal.files.map(({ name, lines: { length } }, index) => {
    const part = lines.slice(from, index === journal.files.length - 1 ? undefined : from + length);
    from += length;
    return { name, lines: part };
  });
};
/** What somebody can do who has the files but not the key: change a record and write all hashes after it anew. */
function rechain(lines: readonly string[], after: Head = GENESIS): string[] {
  let head = after;
  return lines.map((line) => {
    const { hash: _, ...record } = { ...JSON.parse(line), seq: head.seq + 1, prev: head.hash };
    head = { seq: record.seq, hash: sha256(canonical(record)) };
    return canonical({ ...record, hash: head.hash });
  });
}

describe('a journal that nobody touched', () => {
  it('is intact, in all its files, up to the newest checkpoint', async () => {
    expect(journal.files.length).toBeGreaterThan(2);
    const { last, ...report } = await verify(journal.files);
    expect(report).toEqual({
      ...{ ok: true, format: 'journal', fault: null, breaks: [], remarks: [] },
      records: allLines().length,
      signedUpTo: allLines().length,
    });
    expect(last).toBe(journal.anchor.seq);
  });

  it('is intact without key and checkpoint, as far as the chain shows', async () => {
    expect(await verify(journal.files, { keys: [], anchor: null })).toMatchObject({ ok: true, signedUpTo: null });
  });

  it('is empty where there are no records', async () => {
    expect(await verify([], { anchor: null })).toMatchObject({ ok: true, format: 'empty', records: 0 });
    expect(await verify([{ name: 'audit.jsonl', lines: [] }], { anchor: null })).toMatchObject({
      ok: true,
      records: 0,
    });
  });

  it('can be verified one file at a time', async () => {
    for (const file of journal.files) {
      const anchor = file.name === 'audit.jsonl' ? journal.anchor : null;
      expect(await verify([file], { anchor, whole: false })).toMatchObject({ ok: true });
    }
  });
});

describe('tampering with a journal', () => {
  it('shows for every record that is changed, and names it', async () => {
    for (const [index, line] of allLines().entries()) {
      const changed = line.replace(/"ts":"2001/, '"ts":"2002');
      expect(changed).not.toBe(line);
      const report = await verify(inFiles(allLines().with(index, changed)));
      expect(report.fault).toMatchObject({ what: 'hash', seq: index + 1 });
      expect(report.fault?.sentence).toContain(`record ${index + 1}`);
    }
  });

  it('shows for any byte that is changed anywhere', async () => {
    const texts = journal.files.map(({ lines }) => Buffer.from(lines.map((line) => `${line}\n`).join('')));
    await fc.assert(
      fc.asyncProperty(fc.nat(texts.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }), async (file, at, flip) => {
        const changed = texts.map((text) => Buffer.from(text));
        const bytes = changed[file] as Buffer;
        bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ flip;
        const all = changed.map((text, index) => source(journal.files[index]?.name as string, text));
        const { key, anchor } = journal;
        const report = await verifyJournal(all, { keys: [key], anchor, knownBreaks: new Set(), whole: true });
        expect(report.ok).toBe(false);
        expect(report.fault?.file).toBe(journal.files[file]?.name);
      }),
      { numRuns: 300 },
    );
  });

  it('shows for every record that is taken out, doubled, or exchanged with the next', async () => {
    const lines = allLines();
    for (const [index, line] of lines.entries()) {
      const without = await verify(inFiles(lines.toSpliced(index, 1)));
      const last = index === lines.length - 1;
      const what = last ? 'cut' : index === 0 ? 'beginning' : 'prev';
      expect(without.fault).toMatchObject({ what, seq: last ? index : index + 2 });
      const doubled = await verify(inFiles(lines.toSpliced(index, 0, line)));
      expect(doubled.fault).toMatchObject({ what: 'prev', seq: index + 1 });
      if (last) continue;
      const exchanged = await verify(inFiles(lines.with(index, lines[index + 1] as string).with(index + 1, line)));
      expect(exchanged.fault).toMatchObject({ what: index === 0 ? 'beginning' : 'prev', seq: index + 2 });
    }
  });

  it('shows for every record that is put in', async () => {
    const lines = allLines();
    for (let index = 0; index <= lines.length; index += 1) {
      const own = rechain([...lines.slice(0, index), (lines[0] as string).replace('reason 1"', 'never happened"')]);
      const report = await verify(inFiles([...lines.slice(0, index), own.at(-1) as string, ...lines.slice(index)]));
      // After the newest checkpoint nothing but the chain vouches for a record; the report says how far signatures reach.
      if (index === lines.length) expect(report).toMatchObject({ ok: true, signedUpTo: index, last: index + 1 });
      else expect(report).toMatchObject({ ok: false, fault: { seq: index + 1 } });
    }
  });

  it('shows for every record at which the journal is cut', async () => {
    const lines = allLines();
    for (let length = 0; length < lines.length; length += 1) {
      const { fault } = await verify(inFiles(lines.slice(0, length)));
      expect(fault).toMatchObject({ what: 'cut', seq: length === 0 ? null : length });
    }
  });

  it('shows for a cut in the middle of a line', async () => {
    const lines = journal.files.at(-1)?.lines ?? [];
    const text = lines.join('\n').slice(0, -5);
    const all = [...sources(journal.files.slice(0, -1)), source('audit.jsonl', text)];
    const report = await verifyJournal(all, { keys: [], anchor: null, knownBreaks: new Set(), whole: true });
    expect(report.fault).toMatchObject({ what: 'torn', line: lines.length });
  });

  it('shows for files that are exchanged, renamed, doubled, or taken away', async () => {
    const [first, second, ...others] = journal.files as [Made['files'][0], Made['files'][0]];
    const swapped = [{ ...first, lines: second.lines }, { ...second, lines: first.lines }, ...others];
    expect((await verify(swapped)).fault).toMatchObject({ file: first.name });
    expect((await verify([second, first, ...others])).ok).toBe(false);
    expect((await verify([first, first, second, ...others])).fault).toMatchObject({ what: 'prev', line: 1 });
    expect((await verify([first, ...others])).fault).toMatchObject({ what: 'prev', line: 1 });
    expect((await verify([second, ...others])).fault).toMatchObject({ what: 'missing-file' });
    expect((await verify(journal.files.slice(0, -1))).fault).toMatchObject({ what: 'cut' });
  });

  it('shows for an old copy that is put back, unless the newest checkpoint is put back with it', async () => {
    expect((await verify(older.files)).fault).toMatchObject({ what: 'cut' });
    // The limit that no file on the same machine can lift.
    expect((await verify(older.files, { anchor: older.anchor })).ok).toBe(true);
  });

  it('shows where all hashes after it are written anew, by the checkpoints that no longer fit', async () => {
    const lines = allLines();
    for (const [index, line] of lines.entries()) {
      if (JSON.parse(line).type !== 'stop') continue;
      const forged = rechain(lines.with(index, line.replace('reason ', 'another reason ')));
      const { fault } = await verify(inFiles(forged));
      expect(['checkpoint', 'rewritten']).toContain(fault?.what);
      expect(fault?.seq).toBeGreaterThan(index + 1);
    }
  });

  it('shows where the checkpoints are left out of what is written anew', async () => {
    const records = Array.from({ length: 300 }, (_, i) =>
      canonical({ ...JSON.parse(allLines()[0] as string), reason: `${i}` }),
    );
    const forged = [{ name: 'audit.jsonl', lines: rechain(records) }];
    expect((await verify(forged, { anchor: null })).fault).toMatchObject({ what: 'unsigned', seq: 256 });
    expect((await verify([{ name: 'audit.jsonl', lines: rechain(records).slice(0, 255) }], { anchor: null })).ok).toBe(
      true,
    );
    expect((await verify(forged)).fault).toMatchObject({ what: 'rewritten', seq: journal.anchor.seq });
  });

  it('shows where another key signed', async () => {
    const other = await make(5);
    expect((await verify(other.files, { anchor: null })).fault).toMatchObject({ what: 'signature', seq: 6 });
    expect((await verify(other.files, { anchor: null, keys: [journal.key, other.key] })).ok).toBe(true);
  });

  it('shows where a file cannot be read to its end', async () => {
    const broken: Source = {
      ...source('audit.jsonl', ''),
      async *chunks() {
        yield Buffer.from(`${allLines()[0]}\n`);
        throw new Error('EIO');
      },
    };
    const report = await verifyJournal([broken], { keys: [], anchor: null, knownBreaks: new Set(), whole: true });
    expect(report).toMatchObject({ ok: false, records: 1, fault: { what: 'unreadable' } });
  });
});

describe('what the broker itself says of its journal', () => {
  const dirOf = async (act: (log: string, state: string) => Promise<void>) => {
    const dir = await mkdtemp(join(base ?? '', 'said-'));
    await make(5, dir);
    await act(join(dir, 'log'), join(dir, 'state'));
    return make(5, dir);
  };

  it('counts as a fault when the journal was found damaged, until the operator says to know of it', async () => {
    const { files, key, anchor } = await dirOf((log) => rm(join(log, 'audit.jsonl')));
    const report = await verify(files, { keys: [key], anchor });
    expect(report).toMatchObject({ ok: false, fault: null, breaks: [{ type: 'break', seq: 7 }] });
    expect(report.breaks[0]?.sentence).toMatch(/damaged \(gone\) after record 0/);
    expect((await verify(files, { keys: [key], anchor, knownBreaks: new Set([7]) })).ok).toBe(true);
    expect((await verify(files, { keys: [key], anchor, knownBreaks: new Set([8]) })).ok).toBe(false);
  });

  it('is mentioned when it lost its second file or its key', async () => {
    const lost = await dirOf((_, state) => rm(join(state, 'journal.key')));
    const { files, anchor } = lost;
    const report = await verify(files, { keys: [], anchor: null });
    expect(report).toMatchObject({ ok: true, remarks: [{ type: 'key' }] });
    expect((await verify(files, { keys: [lost.key], anchor })).fault).toMatchObject({ what: 'signature', seq: 6 });
  });

  it('does not fill the memory, however often it is said', async () => {
    const record = { ...JSON.parse(allLines()[0] as string), type: 'gap', refused: 1, lost: 0 };
    const lines = rechain(Array.from({ length: MAX_REMARKS + 5 }, () => canonical(record)));
    const report = await verify([{ name: 'audit.jsonl', lines }], { keys: [], anchor: null });
    expect(report.remarks).toHaveLength(MAX_REMARKS);
  });

  it('is said of a break behind any number of other remarks', async () => {
    const first = JSON.parse(allLines()[0] as string);
    const gaps = Array.from({ length: MAX_REMARKS + 5 }, () =>
      canonical({ ...first, type: 'gap', refused: 1, lost: 0 }),
    );
    const found = { reason: 'gone', kept: null, line: null, last_good_seq: 1, open: [] };
    const lines = rechain([...gaps, canonical({ ...first, type: 'break', ...found })]);
    const report = await verify([{ name: 'audit.jsonl', lines }], { keys: [], anchor: null });
    expect(report).toMatchObject({ ok: false, fault: null, breaks: [{ type: 'break', seq: MAX_REMARKS + 6 }] });
    const knownBreaks = new Set([MAX_REMARKS + 6]);
    expect((await verify([{ name: 'audit.jsonl', lines }], { keys: [], anchor: null, knownBreaks })).ok).toBe(true);
  });
});

describe('a journal as somebody may put it together', () => {
  const ELSEWHERE: Head = { seq: 5, hash: 'a'.repeat(64) };
  const text = (record: object) => canonical({ ...JSON.parse(allLines()[0] as string), ...record });
  const chain = (records: readonly object[], after?: Head) => rechain(records.map(text), after);
  const headOf = (lines: readonly string[]): Head => JSON.parse(lines.at(-1) as string);
  const unsealed = (lines: readonly string[], options: Partial<VerifyOptions> = {}) =>
    verify([{ name: 'audit.jsonl', lines: [...lines] }], { keys: [], anchor: null, ...options });
  const both = (before: readonly string[], after: readonly string[]) =>
    verify(
      [
        { name: 'first', lines: [...before] },
        { name: 'audit.jsonl', lines: [...after] },
      ],
      { keys: [], anchor: null },
    );
  const broken = { type: 'break', reason: 'changed', kept: 'audit.broken-1', line: 3, last_good_seq: 2, open: [] };
  const segment = { type: 'segment', previous: 'audit-000000000001-000000000005.jsonl', open: [] };

  it('may lack its beginning where it says itself that exactly this was removed', async () => {
    const pruned = (last: number) =>
      chain([segment, stop('x'), { type: 'pruned', file: 'f', first_seq: 1, last_seq: last }], ELSEWHERE);
    expect(await unsealed(pruned(5))).toMatchObject({ ok: true, records: 3, last: 8 });
    for (const last of [4, 6]) {
      expect((await unsealed(pruned(last))).fault).toMatchObject({ what: 'missing-file', line: null, seq: 6 });
      expect(await unsealed(pruned(last), { whole: false })).toMatchObject({ ok: true });
    }
  });

  it('does not begin with any other record than the first, one that follows a file, or a break', async () => {
    expect((await unsealed(chain([stop('x')], ELSEWHERE))).fault).toMatchObject({ what: 'beginning', line: 1, seq: 6 });
    expect(await unsealed(chain([broken], ELSEWHERE))).toMatchObject({ fault: null, breaks: [{ seq: 6 }] });
    const changed = chain([stop('x')]).map((line) => line.replace('"x"', '"y"'));
    expect((await unsealed(changed)).fault).toMatchObject({ what: 'hash', line: 1, seq: 1 });
    expect((await unsealed(['junk'])).fault).toMatchObject({ what: 'unparseable', line: 1, seq: null });
  });

  it('may go on after a break that does not follow, at the beginning of a file and with higher numbers', async () => {
    const before = chain([stop('1'), stop('2')]);
    const later = (seq: number, record: object = broken) => chain([record, stop('3')], { ...ELSEWHERE, seq: seq - 1 });
    expect(await both(before, later(3))).toMatchObject({
      fault: null,
      records: 4,
      breaks: [{ type: 'break', seq: 3 }],
    });
    expect(await both(before, later(9))).toMatchObject({
      fault: null,
      records: 4,
      breaks: [{ type: 'break', seq: 9 }],
    });
    expect((await both(before, later(2))).fault).toMatchObject({ what: 'prev', line: 1, seq: 2 });
    expect((await both(before, later(3, segment))).fault).toMatchObject({ what: 'prev', line: 1, seq: 3 });
    expect((await unsealed([...before, ...later(3)])).fault).toMatchObject({ what: 'prev', line: 3, seq: 3 });
    const changed = later(3).map((line) => line.replace('"changed"', '"other"'));
    expect((await both(before, changed)).fault).toMatchObject({ what: 'hash', line: 1, seq: 3 });
    expect((await both(before, ['junk'])).fault).toMatchObject({ what: 'unparseable', line: 1, seq: null });
    // What follows a jump of the numbers alone, though its hash fits, is no break either.
    const jump = chain([stop('3')], { ...headOf(before), seq: 7 });
    expect((await both(before, jump)).fault).toMatchObject({ what: 'seq', line: 1, seq: 8 });
  });

  it('holds no checkpoint that states anything but where the chain stood', async () => {
    const before = chain([stop('1'), stop('2')]);
    const { seq, hash } = headOf(before);
    const later = (statement: unknown) =>
      unsealed([...before, ...chain([{ type: 'checkpoint', statement, signature: 's', key: 'k' }], headOf(before))]);
    const state = (stated: object) => canonical({ v: 1, ts: 't', seq, hash, ...stated });
    expect(await later(state({}))).toMatchObject({ ok: true, signedUpTo: null, last: 3 });
    for (const wrong of [state({ seq: 1 }), state({ seq: 3 }), state({ hash: 'a'.repeat(64) }), 'junk', null]) {
      expect((await later(wrong)).fault).toMatchObject({ what: 'checkpoint', line: 3, seq: 3 });
    }
  });

  it('is unparseable where a line is no UTF-8, at the beginning and later', async () => {
    const [one] = chain([stop('1')]) as [string];
    const bad = Buffer.from([0xff, 0x0a]);
    for (const [bytes, line] of [
      [bad, 1],
      [Buffer.concat([Buffer.from(`${one}\n`), bad]), 2],
    ] as const) {
      const { fault } = await verifyJournal([source('audit.jsonl', bytes)], {
        ...{ keys: [], anchor: null, knownBreaks: new Set<number>(), whole: true },
      });
      expect(fault).toMatchObject({ what: 'unparseable', line, seq: null });
    }
  });

  it('is not accounted for by another record than the one of a removal', async () => {
    const lines = chain([segment, { ...stop('x'), last_seq: 5 }], ELSEWHERE);
    expect((await unsealed(lines)).fault).toMatchObject({ what: 'missing-file' });
  });

  it('lists no more breaks than it can, and is not right for that', async () => {
    const lines = chain(Array.from({ length: MAX_REMARKS + 1 }, () => broken));
    const { ok, breaks, remarks } = await unsealed(lines);
    expect([ok, breaks.length, remarks.length]).toEqual([false, MAX_REMARKS, MAX_REMARKS]);
  });

  it('ends in old files where their names say so', async () => {
    const name = 'audit-000000000001-000000000002.jsonl';
    const ends = async (records: readonly object[]) =>
      (await verify([{ name, lines: chain(records) }], { keys: [], anchor: null })).fault;
    expect(await ends([stop('1'), stop('2')])).toBeNull();
    expect(await ends([stop('1')])).toMatchObject({ what: 'cut', file: name, line: null, seq: 1 });
    expect(await ends([stop('1'), stop('2'), stop('3')])).toMatchObject({ what: 'cut', seq: 3 });
    expect(await ends([])).toMatchObject({ what: 'cut', seq: null });
  });

  it('is said in sentences to be damaged, with file, line and record as far as they are known', async () => {
    const lines = chain([stop('1'), stop('2')]);
    const sentence = async (made: Promise<{ fault: { sentence: string } | null }>) => (await made).fault?.sentence;
    expect(await sentence(unsealed([lines[0] as string, 'junk']))).toBe(
      'audit.jsonl: line 2 is not a record of the journal: it is damaged, or something else wrote it.',
    );
    expect(await sentence(unsealed([lines[0] as string, lines[0] as string]))).toMatch(
      /^audit\.jsonl: line 2 \(record 1\) does not follow the record before it: .*\.$/,
    );
    const anchor = { ...ELSEWHERE, seq: 9 };
    expect(await sentence(unsealed(lines, { anchor }))).toBe(
      'audit.jsonl: record 2 is the last, but records after it are missing (a signed checkpoint names record 9, the file ends at 2).',
    );
    expect(await sentence(unsealed([], { anchor }))).toBe(
      'audit.jsonl: it is the last, but records after it are missing (a signed checkpoint names record 9, the file ends at none).',
    );
    for (const [error, said] of [
      [new Error('EIO'), 'EIO'],
      ['odd', 'odd'],
    ] as const) {
      const unreadable: Source = {
        ...source('audit.jsonl', ''),
        // biome-ignore lint/correctness/useYield: it ends before there is anything
        async *chunks() {
          throw error;
        },
      };
      const { keys, whole, knownBreaks } = { keys: [], whole: true, knownBreaks: new Set<number>() };
      const report = await verifyJournal([unreadable], { keys, whole, knownBreaks, anchor: null });
      expect(report).toMatchObject({ ok: false, format: 'journal', records: 0, last: null });
      expect(report.fault?.sentence).toBe(`audit.jsonl: it cannot be read (${said}).`);
    }
    expect(await sentence(verifyJournal([], { keys: [], anchor, knownBreaks: new Set(), whole: true }))).toMatch(
      /^: it is the last/,
    );
  });

  it.each([
    [
      { ...broken },
      'The journal was found damaged (changed) after record 2; what was there is kept as audit.broken-1. ',
    ],
    [{ ...broken, kept: null }, 'The journal was found damaged (changed) after record 2. '],
    [{ type: 'torn', bytes: 9, kept: 'f' }, 'A crash left a half-written record of 9 bytes; it is kept as f.'],
    [{ type: 'gap', refused: 2, lost: 1 }, 'could not be written for a while: 2 records refused, 1 lost.'],
    [{ type: 'anchor', found: 'bad' }, 'At a start the file with the newest checkpoint was bad.'],
    [{ type: 'key', lost: 'a', key: 'b' }, 'The signing key a was gone at a start; from here on b signs.'],
    [{ type: 'pruned', file: 'f' }, 'The old file f was removed because there were too many.'],
  ])('says of itself, of %j: %j', async (record, said) => {
    const { remarks, breaks } = await unsealed(chain([record]));
    expect(remarks).toEqual([
      {
        type: record.type,
        seq: 1,
        ts: JSON.parse(allLines()[0] as string).ts,
        sentence: expect.stringContaining(said),
      },
    ]);
    expect(breaks).toEqual(record.type === 'break' ? remarks : []);
  });

  it('says nothing of itself in any other record', async () => {
    expect((await unsealed(chain([stop('1'), { type: 'start', version: '1', unfinished: 0 }]))).remarks).toEqual([]);
  });
});

describe('the log of the implementation before this one', () => {
  const text = () => readFile(new URL('earlier/sample.jsonl', import.meta.url), 'utf8');
  const options = { keys: [], anchor: null, knownBreaks: new Set<number>(), whole: false };

  it('verifies, and says of which kind it is', async () => {
    const report = await verifyJournal([source('qmcp-audit.log', await text())], options);
    expect(report).toMatchObject({ ok: true, format: 'earlier', records: 12, last: 12 });
    const whole = await verifyJournal([source('audit.jsonl', await text())], { ...options, whole: true });
    expect(whole).toMatchObject({ ok: true, format: 'earlier', fault: null });
    const lines = (await text()).split('\n').slice(0, -1);
    const halves = [lines.slice(0, 5), lines.slice(5)].map((half) => source('log', half.join('\n')));
    expect(await verifyJournal(halves, options)).toMatchObject({ ok: true, records: 12, last: 12 });
  });

  it.each([
    ['/log/audit.jsonl', true],
    ['/log/audit.jsonl', false],
    ['/log/other', true],
  ])('does not stand for a journal that a signed checkpoint tells of (%s, whole: %s)', async (path, whole) => {
    const held = { ...options, keys: [journal.key], anchor: journal.anchor, whole };
    const report = await verifyJournal([source(path, await text())], held);
    expect(report).toMatchObject({ ok: false, format: 'earlier', fault: { what: 'replaced', file: path } });
  });

  it('is looked at by itself where it is named beside such a journal', async () => {
    const held = { ...options, keys: [journal.key], anchor: journal.anchor };
    expect((await verifyJournal([source('/log/qmcp-audit.log', await text())], held)).ok).toBe(true);
  });

  it('is unparseable where it is no UTF-8, and has no last record where none fits', async () => {
    const [first] = (await text()).split('\n') as [string];
    const bytes = Buffer.concat([Buffer.from(`${first}\n`), Buffer.from([0xff, 0x0a])]);
    expect(await verifyJournal([source('log', bytes)], options)).toMatchObject({
      ...{ ok: false, records: 1, last: 1, remarks: [], breaks: [], signedUpTo: null },
      fault: { what: 'unparseable', file: 'log', line: 2, seq: null },
    });
    expect(await verifyJournal([source('log', first.replace('true', 'false'))], options)).toMatchObject({
      ...{ ok: false, format: 'earlier', records: 0, last: null, fault: { what: 'hash', line: 1 } },
    });
  });

  it('names the first record that does not fit', async () => {
    const lines = (await text()).split('\n');
    const cases = [
      [lines.toSpliced(2, 1), 'prev', 3, 4],
      [lines.toSpliced(2, 1, 'x'), 'unparseable', 3, null],
      [lines.with(2, lines[2]?.replace('1.5', '1.6') as string), 'hash', 3, 3],
    ] as const;
    for (const [changed, what, line, seq] of cases) {
      const report = await verifyJournal([source('log', changed.join('\n'))], options);
      expect(report.fault).toMatchObject({ what, line, seq });
    }
  });
});

describe('going through a long journal', () => {
  it('tells how far it got, now and then', async () => {
    const lines = rechain(Array.from({ length: 40_001 }, () => allLines()[0] as string));
    const told: number[] = [];
    const progress = (records: number): unknown => told.push(records);
    expect(await verify([{ name: 'audit.jsonl', lines }], { keys: [], anchor: null, progress })).toMatchObject({
      ok: true,
    });
    expect(told).toEqual([20_000, 40_000]);
    expect(await verify([{ name: 'audit.jsonl', lines }], { keys: [], anchor: null })).toMatchObject({ ok: true });
  });
});

import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

let base: string;
let journal: Made;
let older: Made;

const stop = (reason: string) => ({ type: 'stop', reason }) as const;

/** A journal of three files, with checkpoints at the end of each, closed in good order. */
async function make(records: number, resume?: string): Promise<Made> {
  const dir = resume ?? (await mkdtemp(join(base, 'made-')));
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

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'qmcp-verify-'));
  const dir = await mkdtemp(join(base, 'made-'));
  older = await make(12, dir);
  journal = await make(18, dir);
});
afterAll(() => rm(base, { recursive: true, force: true }));

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
function rechain(lines: readonly string[]): string[] {
  let head = GENESIS;
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
    const dir = await mkdtemp(join(base, 'said-'));
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

describe('the log of the implementation before this one', () => {
  const text = () => readFile(new URL('earlier/sample.jsonl', import.meta.url), 'utf8');
  const options = { keys: [], anchor: null, knownBreaks: new Set<number>(), whole: false };

  it('verifies, and says of which kind it is', async () => {
    const report = await verifyJournal([source('qmcp-audit.log', await text())], options);
    expect(report).toMatchObject({ ok: true, format: 'earlier', records: 12, last: 12 });
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
  });
});

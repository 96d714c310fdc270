import { randomBytes } from 'node:crypto';
import { appendFile, link, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { fileSource, journalIn, type Source } from '../../daemon/journal/sources.ts';
import { openPaths } from './open-paths.ts';

/** What somebody else does to the directory right after each look at it. */
const meanwhile = vi.hoisted(() => ({ looks: 0, act: async (_looks: number): Promise<void> => {} }));

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const readdir = async (dir: string) => {
    const names = await real.readdir(dir);
    meanwhile.looks += 1;
    await meanwhile.act(meanwhile.looks);
    return names;
  };
  return { ...real, readdir };
});

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'qmcp-sources-'));
  meanwhile.looks = 0;
  meanwhile.act = async () => {};
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
});

const FIRST = 'audit-000000000001-000000000004.jsonl';
const SECOND = 'audit-000000000005-000000000009.jsonl';
const THIRD = 'audit-000000000010-000000000012.jsonl';
const put = (name: string, text: string) =>
  writeFile(join(dir, name), name.endsWith('.gz') ? gzipSync(Buffer.from(text)) : text);
const read = async (source: Source | undefined) => {
  const pieces: Uint8Array[] = [];
  for await (const piece of source?.chunks() ?? []) pieces.push(piece);
  return Buffer.concat(pieces).toString();
};
const readAll = async (sources: readonly Source[]) => {
  const texts: [string, string][] = [];
  for (const source of sources) texts.push([source.path.slice(dir.length + 1), await read(source)]);
  await Promise.all(sources.map((source) => source.close()));
  return texts;
};

describe('the files of a journal', () => {
  it('are the old ones, compressed or not, and then the one that grows', async () => {
    await put('audit.jsonl', 'three');
    await put(SECOND, 'two');
    await put(`${FIRST}.gz`, 'one');
    await put('journal.pub', 'key');
    const sources = await journalIn(dir);
    expect(sources.map(({ old }) => old && [old.first, old.last])).toEqual([[1, 4], [5, 9], null]);
    expect(await readAll(sources)).toEqual([
      [`${FIRST}.gz`, 'one'],
      [SECOND, 'two'],
      ['audit.jsonl', 'three'],
    ]);
  });

  it('are each there once, where the one that grows was given its next name and then its writer was killed', async () => {
    await put(FIRST, 'one');
    await put('audit.jsonl', 'two');
    await link(join(dir, 'audit.jsonl'), join(dir, SECOND));
    expect(await readAll(await journalIn(dir))).toEqual([
      [FIRST, 'one'],
      ['audit.jsonl', 'two'],
    ]);
  });

  it('are none where there is none, and those that there are where the one that grows is missing', async () => {
    expect(await journalIn(dir)).toEqual([]);
    await put(FIRST, 'one');
    expect(await readAll(await journalIn(dir))).toEqual([[FIRST, 'one']]);
  });

  it('cannot be had where the directory is missing or the file that grows cannot be opened', async () => {
    await expect(journalIn(join(dir, 'missing'))).rejects.toThrow('ENOENT');
    // A name that is too long for a file, so that opening it fails for another reason than that it is not there.
    await expect(fileSource(join(dir, 'x'.repeat(300)))).rejects.toThrow('ENAMETOOLONG');
    await put('file', '');
    await expect(journalIn(join(dir, 'file'))).rejects.toThrow('ENOTDIR');
    // A link to itself is there and cannot be opened.
    await symlink('audit.jsonl', join(dir, 'audit.jsonl'));
    await expect(journalIn(dir)).rejects.toThrow('ELOOP');
  });

  it('are one moment of it: where a new file is begun between two looks, the directory is looked at again', async () => {
    await put('audit.jsonl', 'old');
    meanwhile.act = async (looks) => {
      if (looks !== 1) return;
      await rename(join(dir, 'audit.jsonl'), join(dir, FIRST));
      await put('audit.jsonl', 'new');
    };
    expect(await readAll(await journalIn(dir))).toEqual([
      [FIRST, 'old'],
      ['audit.jsonl', 'new'],
    ]);
    expect(meanwhile.looks).toBe(4);
  });

  it('are looked at ten times at most, however fast new ones are begun', async () => {
    let seq = 0;
    meanwhile.act = async () => {
      seq += 2;
      await put(`audit-${String(seq).padStart(12, '0')}-${String(seq + 1).padStart(12, '0')}.jsonl`, '');
    };
    const sources = await journalIn(dir);
    expect(meanwhile.looks).toBe(20);
    expect(sources).toHaveLength(19);
  });

  it('leave none of them open that were not taken', async () => {
    await put('audit.jsonl', 'old');
    let seq = 0;
    meanwhile.act = async () => {
      seq += 1;
      await put(`audit-${String(seq).padStart(12, '0')}-${String(seq).padStart(12, '0')}.jsonl`, '');
    };
    const sources = await journalIn(dir);
    expect(openPaths().filter((path) => path === join(dir, 'audit.jsonl'))).toHaveLength(1);
    await Promise.all(sources.map((source) => source.close()));
    expect(openPaths()).not.toContain(join(dir, 'audit.jsonl'));
  });

  it('stay what they were while the broker begins a new one and compresses the old', async () => {
    await put(FIRST, 'one');
    await put('audit.jsonl', 'two');
    const sources = await journalIn(dir);
    await put(`${FIRST}.gz`, 'one');
    await rm(join(dir, FIRST));
    await rename(join(dir, 'audit.jsonl'), join(dir, SECOND));
    await put('audit.jsonl', 'three');
    expect((await readAll(sources)).map(([, text]) => text)).toEqual(['one', 'two']);
  });

  it('say that one cannot be read where it went away in both forms, or is something else', async () => {
    await put(FIRST, 'one');
    await mkdir(join(dir, SECOND));
    await symlink(THIRD, join(dir, THIRD));
    const [first, second, third] = await journalIn(dir);
    await rm(join(dir, FIRST));
    await expect(read(first)).rejects.toThrow('ENOENT');
    await expect(read(second)).rejects.toThrow('EISDIR');
    await expect(read(third)).rejects.toThrow('ELOOP');
  });
});

describe('one file', () => {
  it('can be read as often as asked for, each time from its beginning', async () => {
    await put('audit.jsonl', 'text');
    const source = await fileSource(join(dir, 'audit.jsonl'));
    expect(source.old).toBeNull();
    expect([await read(source), await read(source)]).toEqual(['text', 'text']);
    await appendFile(join(dir, 'audit.jsonl'), ' and more');
    expect(await read(source)).toBe('text and more');
    await source.close();
    await expect(read(source)).rejects.toThrow();
  });

  it('is decompressed where its name says so, and an old one by its name is that', async () => {
    await put(`${FIRST}.gz`, 'text');
    const source = await fileSource(join(dir, `${FIRST}.gz`));
    expect(source.old).toEqual({ name: `${FIRST}.gz`, first: 1, last: 4, compressed: true });
    expect([await read(source), await read(source)]).toEqual(['text', 'text']);
    await source.close();
    await put(SECOND, 'plain');
    const plain = await fileSource(join(dir, SECOND));
    expect(plain.old).toMatchObject({ first: 5, last: 9, compressed: false });
    expect(await readAll([plain])).toEqual([[SECOND, 'plain']]);
  });

  it('fails to be read where it is not what its name says, or was cut', async () => {
    await writeFile(join(dir, 'x.gz'), 'no gzip');
    await expect(read(await fileSource(join(dir, 'x.gz')))).rejects.toThrow('incorrect header');
    await put('y.gz', 'text'.repeat(1000));
    const whole = await readFile(join(dir, 'y.gz'));
    await writeFile(join(dir, 'y.gz'), whole.subarray(0, whole.length - 4));
    await expect(read(await fileSource(join(dir, 'y.gz')))).rejects.toThrow('unexpected end of file');
  });

  it('is not there where it is not there', async () => {
    await expect(fileSource(join(dir, 'missing'))).rejects.toThrow('ENOENT');
    await expect(fileSource(join(dir, 'missing.gz'))).rejects.toThrow('ENOENT');
  });

  it('that is let go of in the middle is not held open', async () => {
    // What does not get shorter, so that most of the file is not read yet when nobody wants more.
    await writeFile(join(dir, 'x.gz'), gzipSync(randomBytes(2_000_000)));
    const source = await fileSource(join(dir, 'x.gz'));
    for await (const piece of source.chunks()) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    await expect.poll(openPaths).not.toContain(join(dir, 'x.gz'));
  });
});

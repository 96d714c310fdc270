import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { compressOldFiles, oldFileName, oldFiles, oldNames } from '../../daemon/journal/rotation.ts';
import { openPaths } from './open-paths.ts';

/** What was asked of the disk, in order. */
const asked = vi.hoisted((): string[] => []);

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const open = async (path: string, flags: string | number) => {
    const handle = await real.open(path, flags);
    const sync = handle.sync.bind(handle);
    return Object.assign(handle, { sync: () => asked.push(`sync ${basename(path)}`) && sync() });
  };
  const rename = (from: string, to: string) => asked.push(`rename ${basename(from)}`) && real.rename(from, to);
  const unlink = (path: string) => asked.push(`unlink ${basename(path)}`) && real.unlink(path);
  return { ...real, open, rename, unlink };
});

describe('the name of an old file', () => {
  it('says which records it holds, in an order that a listing has too', () => {
    expect(oldFileName(1, 25)).toBe('audit-000000000001-000000000025.jsonl');
    const names = [oldFileName(26, 99), oldFileName(1, 25), oldFileName(100, 1e12), oldFileName(1e12 + 1, 2e12)];
    expect(oldFiles(names).map(({ first, last }) => [first, last])).toEqual([
      [1, 25],
      [26, 99],
      [100, 1e12],
      [1e12 + 1, 2e12],
    ]);
  });

  it('is that of no other file', () => {
    const others = [
      'audit.jsonl',
      'audit.new',
      'journal.pub',
      'audit.broken-20260102T000000.000Z.jsonl',
      'audit-1-2.jsonl',
      'audit-00000000001-000000000025.jsonl',
      'audit-000000000001-00000000025.jsonl',
      'audit-00000000000000001-000000000025.jsonl',
      'audit-000000000001-00000000000000025.jsonl',
      'audit-000000000001-000000000025.jsonl.gz.new',
      'audit-000000000001-000000000025.jsonl.zip',
      'audit-000000000001-000000000025-jsonl',
      'xaudit-000000000001-000000000025.jsonl',
      'audit-00000000000x-000000000025.jsonl',
    ];
    expect(oldFiles(others)).toEqual([]);
    expect(oldNames(others)).toEqual([]);
  });

  it('stands for the plain file where there are both forms of it, but is each as a name', () => {
    const names = [`${oldFileName(1, 2)}.gz`, oldFileName(1, 2), `${oldFileName(3, 4)}.gz`, 'audit.jsonl'];
    expect(oldFiles(names)).toEqual([
      { name: oldFileName(1, 2), first: 1, last: 2, compressed: false },
      { name: `${oldFileName(3, 4)}.gz`, first: 3, last: 4, compressed: true },
    ]);
    expect(oldNames(names)).toEqual(names.slice(0, 3));
  });

  it('comes after that of another of the same beginning where it goes on for longer', () => {
    expect(oldFiles([oldFileName(1, 9), oldFileName(1, 4)]).map(({ last }) => last)).toEqual([4, 9]);
    expect(oldFiles([oldFileName(1, 4), oldFileName(1, 9)]).map(({ last }) => last)).toEqual([4, 9]);
  });
});

describe('compressing the old files', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'qmcp-rotation-'));
    onTestFinished(() => rm(dir, { recursive: true, force: true }));
  });

  it('puts each in the place of the plain one, for nobody else to read, and leaves all other files alone', async () => {
    await writeFile(join(dir, oldFileName(1, 2)), 'one\n', { mode: 0o644 });
    await writeFile(join(dir, `${oldFileName(3, 4)}.gz`), 'compressed before');
    await writeFile(join(dir, 'audit.jsonl'), 'two\n');
    await compressOldFiles(dir);
    expect((await readdir(dir)).sort()).toEqual([`${oldFileName(1, 2)}.gz`, `${oldFileName(3, 4)}.gz`, 'audit.jsonl']);
    expect(gunzipSync(await readFile(join(dir, `${oldFileName(1, 2)}.gz`))).toString()).toBe('one\n');
    expect((await stat(join(dir, `${oldFileName(1, 2)}.gz`))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(dir, `${oldFileName(3, 4)}.gz`), 'utf8')).toBe('compressed before');
    expect(openPaths().filter((path) => path.startsWith(dir))).toEqual([]);
  });

  it('has the copy and its name on the disk before the plain one goes', async () => {
    const name = oldFileName(1, 2);
    await writeFile(join(dir, name), 'one\n');
    asked.length = 0;
    await compressOldFiles(dir);
    const copy = `${name}.gz.new`;
    expect(asked).toEqual([`sync ${copy}`, `rename ${copy}`, `sync ${basename(dir)}`, `unlink ${name}`]);
  });

  it('begins anew where a crash left half a copy, or the copy and the plain one', async () => {
    await writeFile(join(dir, oldFileName(1, 2)), 'one\n');
    await writeFile(
      join(dir, `${oldFileName(1, 2)}.gz.new`),
      'half of a copy that is longer than the whole one will be',
    );
    await writeFile(join(dir, `${oldFileName(1, 2)}.gz`), 'copy');
    await compressOldFiles(dir);
    expect(await readdir(dir)).toEqual([`${oldFileName(1, 2)}.gz`]);
    expect(gunzipSync(await readFile(join(dir, `${oldFileName(1, 2)}.gz`))).toString()).toBe('one\n');
  });

  it('leaves the plain one, and no half of a copy, where the disk is full', async () => {
    await writeFile(join(dir, oldFileName(1, 2)), 'one\n');
    await symlink('/dev/full', join(dir, `${oldFileName(1, 2)}.gz.new`));
    await expect(compressOldFiles(dir)).rejects.toThrow('ENOSPC');
    expect(await readdir(dir)).toEqual([oldFileName(1, 2)]);
  });

  it('says what the disk said also where the half of a copy cannot be taken away', async () => {
    await writeFile(join(dir, oldFileName(1, 2)), 'one\n');
    await mkdir(join(dir, `${oldFileName(1, 2)}.gz.new`));
    await expect(compressOldFiles(dir)).rejects.toThrow('EISDIR');
  });
});

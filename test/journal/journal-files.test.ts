import { execFileSync } from 'node:child_process';
import {
  chmod,
  lstat,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { realFiles } from '../../daemon/journal/journal-files.ts';

let dir: string;
let path: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'qmcp-files-'));
  path = join(dir, 'file');
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
});

const openPaths = async () => {
  const numbers = await readdir('/proc/self/fd');
  return Promise.all(numbers.map((number) => readlink(`/proc/self/fd/${number}`).catch(() => '')));
};
const modeOf = async (name: string) => (await stat(name)).mode & 0o777;

describe('a file of the journal', () => {
  it('is appended to, read from anywhere, and cut', async () => {
    await writeFile(path, '0123');
    const file = await realFiles.openAppend(path);
    expect(await file.write(Buffer.from('456789'))).toBe(6);
    await file.datasync();
    const into = Buffer.alloc(4, '.');
    expect([await file.read(into, 3), into.toString()]).toEqual([4, '3456']);
    expect([await file.read(into.subarray(1, 3), 8), into.toString()]).toEqual([2, '3896']);
    expect(await file.read(into, 10)).toBe(0);
    await file.truncate(5);
    await file.write(Buffer.from('x'));
    await file.close();
    expect(await readFile(path, 'utf8')).toBe('01234x');
  });

  it('is made for nobody else to read, and one that was there becomes that', async () => {
    await (await realFiles.openAppend(path)).close();
    expect(await modeOf(path)).toBe(0o600);
    await (await realFiles.createNew(join(dir, 'new'))).close();
    expect(await modeOf(join(dir, 'new'))).toBe(0o600);
    await chmod(path, 0o400);
    await (await realFiles.openAppend(path)).close();
    expect(await modeOf(path)).toBe(0o600);
  });

  it('is not made anew where it has to be a new one', async () => {
    await writeFile(path, 'old');
    await expect(realFiles.createNew(path)).rejects.toThrow('EEXIST');
    expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('is never what a link in its place points to', async () => {
    await writeFile(join(dir, 'elsewhere'), 'old', { mode: 0o644 });
    await symlink(join(dir, 'elsewhere'), path);
    await expect(realFiles.openAppend(path)).rejects.toThrow('ELOOP');
    await expect(realFiles.createNew(path)).rejects.toThrow('EEXIST');
    expect(await modeOf(join(dir, 'elsewhere'))).toBe(0o644);
    expect(await realFiles.identify(path)).toMatchObject({ ino: (await lstat(path)).ino, regular: false });
  });

  it('is known for what it is by its path and by itself, and something that is no file is left as it is', async () => {
    await writeFile(path, '0123', { mode: 0o600 });
    const { dev, ino } = await stat(path);
    const file = await realFiles.openAppend(path);
    expect(await file.identity()).toEqual({ dev, ino, size: 4, regular: true });
    expect(await realFiles.identify(path)).toEqual({ dev, ino, size: 4, regular: true });
    await file.close();
    execFileSync('mkfifo', ['-m', '640', join(dir, 'fifo')]);
    const fifo = await realFiles.openAppend(join(dir, 'fifo'));
    expect(await fifo.identity()).toMatchObject({ regular: false });
    expect(await modeOf(join(dir, 'fifo'))).toBe(0o640);
    await fifo.close();
  });

  it('is not held open where it cannot be made ours', async () => {
    const probe = await open(path, 'w');
    const failing = vi.spyOn(Object.getPrototypeOf(probe), 'stat').mockRejectedValueOnce(new Error('EIO'));
    onTestFinished(() => failing.mockRestore());
    await probe.close();
    await expect(realFiles.openAppend(path)).rejects.toThrow('EIO');
    expect(await openPaths()).not.toContain(path);
  });

  it('is none where there is none, which is not the same as that nobody can tell', async () => {
    expect(await realFiles.identify(path)).toBeNull();
    await writeFile(path, '');
    await expect(realFiles.identify(join(path, 'below a file'))).rejects.toThrow('ENOTDIR');
  });

  it('has a name that can be doubled, moved and taken away', async () => {
    await writeFile(path, 'text');
    await realFiles.link(path, join(dir, 'second'));
    await expect(realFiles.link(path, join(dir, 'second'))).rejects.toThrow('EEXIST');
    await realFiles.unlink(path);
    await writeFile(join(dir, 'third'), 'other');
    await realFiles.rename(join(dir, 'second'), join(dir, 'third'));
    expect(await realFiles.list(dir)).toEqual(['third']);
    expect(await readFile(join(dir, 'third'), 'utf8')).toBe('text');
  });
});

describe('the names of a directory', () => {
  it('are made durable, but not of something that is no directory or not there', async () => {
    await writeFile(path, '');
    await realFiles.syncDirectory(dir);
    expect(await openPaths()).not.toContain(dir);
    await expect(realFiles.syncDirectory(path)).rejects.toThrow('ENOTDIR');
    await expect(realFiles.syncDirectory(join(dir, 'missing'))).rejects.toThrow('ENOENT');
  });
});

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { link, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { NotAFile, realDisk } from '../../../daemon/operator/change/disk.ts';

const place = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-disk-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

test('reads a plain file with its owner, and nothing where there is none', async () => {
  const path = join(place(), 'file');
  expect(await realDisk.read(path)).toBeNull();
  writeFileSync(path, 'caf\xe9\n', { encoding: 'latin1', mode: 0o640 });
  const owner = { uid: process.getuid?.(), gid: process.getgid?.() };
  expect(await realDisk.read(path)).toEqual({ text: 'caf\xe9\n', mode: 0o640, ...owner });
});

test('takes a link, a directory, a pipe, a socket and a file too large for no file, and waits for none of them', async () => {
  const dir = place();
  const at = (name: string): string => join(dir, name);
  writeFileSync(at('file'), 'x\n');
  symlinkSync(at('file'), at('link'));
  symlinkSync(at('nothing'), at('dangling'));
  mkdirSync(at('directory'));
  execFileSync('mkfifo', [at('pipe')]);
  const server = createServer();
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
  writeFileSync(at('large'), '');
  truncateSync(at('large'), 1_048_577);
  for (const name of ['link', 'dangling', 'directory', 'pipe', 'socket', 'large']) {
    await expect(realDisk.read(at(name)), name).rejects.toThrow(NotAFile);
  }
});

test('a file that comes and goes while it is read is there or is not, and is never an error', async () => {
  const dir = place();
  const [own, lock] = [join(dir, 'own'), join(dir, 'lock')];
  writeFileSync(own, '1\n');
  let done = false;
  const comesAndGoes = async (): Promise<void> => {
    for (let n = 0; n < 1000; n++) {
      await link(own, lock);
      await rm(lock);
    }
    done = true;
  };
  const reader = async (): Promise<void> => {
    while (!done) expect([undefined, '1\n']).toContain((await realDisk.read(lock))?.text);
  };
  await Promise.all([comesAndGoes(), reader(), reader(), reader()]);
});

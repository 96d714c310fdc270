import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { STATE_BYTES_MAX, stateFilesIn } from '../daemon/state-files.ts';

const place = (): string => {
  const root = mkdtempSync(join(tmpdir(), 'qmcp-state-files-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  return root;
};

test('state files are replaced whole, in a directory for the daemon alone', async () => {
  const dir = join(place(), 'state', 'principals');
  const files = stateFilesIn(dir);
  expect(files.read('web.json')).toBeNull();
  await files.write('web.json', 'one');
  await files.write('web.json', 'two');
  expect(files.read('web.json')).toBe('two');
  expect(readdirSync(dir)).toEqual(['web.json']);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  expect(statSync(join(dir, 'web.json')).mode & 0o777).toBe(0o600);
});

test('state files are closed again, written or not', async () => {
  const dir = place();
  const files = stateFilesIn(dir);
  await files.write('web.json', 'one');
  mkdirSync(join(dir, 'mail.json'));
  await expect(files.write('mail.json', 'one')).rejects.toThrow();
  const open = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  expect(open.filter((path) => path.startsWith(dir))).toEqual([]);
});

test('what is no state file of ours is not read', async () => {
  const dir = place();
  const files = stateFilesIn(dir);
  mkdirSync(join(dir, 'a.json'));
  writeFileSync(join(dir, 'b.json'), 'x'.repeat(STATE_BYTES_MAX + 1));
  writeFileSync(join(dir, 'c.json'), 'x'.repeat(STATE_BYTES_MAX));
  expect(() => files.read('a.json')).toThrow('no file that the broker wrote');
  expect(() => files.read('b.json')).toThrow('no file that the broker wrote');
  expect(files.read('c.json')).toHaveLength(STATE_BYTES_MAX);
});

test('a state file that cannot be written rejects, and leaves what there was', async () => {
  const dir = place();
  const files = stateFilesIn(dir);
  await files.write('web.json', 'one');
  mkdirSync(join(dir, '.web.json.new'));
  await expect(files.write('web.json', 'two')).rejects.toThrow();
  await expect(files.write('web.json', 'é'.repeat(STATE_BYTES_MAX / 2 + 1))).rejects.toThrow('too long');
  expect(readFileSync(join(dir, 'web.json'), 'utf8')).toBe('one');
});

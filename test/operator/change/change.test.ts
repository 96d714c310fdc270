import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { BACKUPS_MAX, backupsIn, keepBackup, pruneBackups } from '../../../daemon/operator/change/backups.ts';
import { backupsOf, type Change, changeTogether } from '../../../daemon/operator/change/change.ts';
import { type Disk, realDisk } from '../../../daemon/operator/change/disk.ts';
import { Refusal } from '../../../daemon/operator/command.ts';

const NOW = Date.UTC(2026, 0, 31, 12);

/** A directory with two files, one that is not there yet, and changes to all three. */
const place = () => {
  const etc = mkdtempSync(join(tmpdir(), 'qmcp-change-'));
  onTestFinished(() => rmSync(etc, { recursive: true, force: true }));
  writeFileSync(join(etc, 'one'), 'old one\n', { mode: 0o664 });
  chmodSync(join(etc, 'one'), 0o664);
  writeFileSync(join(etc, 'two'), 'old two\n');
  mkdirSync(join(etc, 'backups'));
  const changes: Change[] = [
    { path: join(etc, 'one'), text: 'new one\n' },
    { path: join(etc, 'two'), text: null },
    { path: join(etc, 'three'), text: 'new three\n' },
  ];
  return { etc, changes };
};
const BEFORE = { one: 'old one\n', two: 'old two\n' };
const AFTER = { one: 'new one\n', three: 'new three\n' };

const files = (etc: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(etc, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => [name, readFileSync(join(etc, name), 'utf8')]),
  );

const make = (etc: string, changes: readonly Change[], disk: Disk = realDisk, check = async () => {}) =>
  changeTogether('mode', changes, check, { disk, etc, now: () => NOW, pid: 1, isAlive: () => false });

/** The disk in which the operation of this number fails, and with `forGood` all after it too; counts them. */
const failing = (at: number, forGood: boolean) => {
  let count = 0;
  const broken =
    <A extends unknown[], T>(work: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      count += 1;
      if (count === at || (forGood && count > at)) {
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      }
      return work(...args);
    };
  const disk = Object.fromEntries(
    Object.entries(realDisk).map(([name, work]) => [name, broken(work as (...args: unknown[]) => Promise<unknown>)]),
  ) as unknown as Disk;
  return { disk, count: () => count };
};

const operations = async (): Promise<number> => {
  const { etc, changes } = place();
  const counting = failing(Number.POSITIVE_INFINITY, false);
  await make(etc, changes, counting.disk);
  return counting.count();
};

test('all changes are made, what was there is kept, and nothing else is left behind', async () => {
  const { etc, changes } = place();
  const { paths, backup } = await make(etc, changes);
  expect(paths).toEqual(changes.map(({ path }) => path));
  expect(files(etc)).toEqual(AFTER);
  expect(statSync(join(etc, 'one')).mode & 0o777).toBe(0o664);
  expect(statSync(join(etc, 'three')).mode & 0o777).toBe(0o644);
  const [kept] = await backupsIn(realDisk, backupsOf(etc));
  expect(kept).toMatchObject({ id: backup, by: 'mode', made: '2026-01-31T12:00:00.000Z' });
  expect(kept?.files.map(({ text }) => text)).toEqual(['old one\n', 'old two\n', null]);
});

test('what is so already is no change, and leaves no backup', async () => {
  const { etc } = place();
  expect(await make(etc, [{ path: join(etc, 'one'), text: 'old one\n' }])).toEqual({ paths: [], backup: null });
  expect(readdirSync(backupsOf(etc))).toEqual([]);
});

test('whichever step the disk fails at, everything is as before, and it is said why', async () => {
  const last = await operations();
  expect(last).toBeGreaterThan(15);
  let completed = 0;
  for (let at = 1; at <= last; at++) {
    const { etc, changes } = place();
    const error = await make(etc, changes, failing(at, false).disk).catch((failure: unknown) => failure);
    if (error instanceof Refusal) {
      expect(error.message, `step ${at}`).toMatch(/^Nothing was changed: .*disk is full\. Free some space/);
      expect(files(etc), `step ${at}`).toEqual(BEFORE);
      expect(readdirSync(backupsOf(etc)), `step ${at}`).toEqual([]);
      await expect(make(etc, changes)).resolves.toMatchObject({ paths: { length: 3 } });
    } else completed += 1;
    // Whether it was refused or had nothing left to do but tidy up: no half of anything.
    const visible = Object.entries(files(etc)).filter(([name]) => !name.startsWith('.'));
    expect(Object.fromEntries(visible), `step ${at}`).toEqual(AFTER);
  }
  // Only tidying up may fail without failing it: six names, the list of backups, the lock and what it was made of.
  expect(completed).toBe(9);
});

test('a disk that stays full, as after a power cut, leaves whole files, and the next change goes through', async () => {
  const last = await operations();
  for (let at = 1; at <= last; at++) {
    const { etc, changes } = place();
    await make(etc, changes, failing(at, true).disk).catch(() => {});
    const left = files(etc);
    expect([BEFORE.one, AFTER.one], `step ${at}`).toContain(left.one);
    expect([BEFORE.two, undefined], `step ${at}`).toContain(left.two);
    expect([undefined, AFTER.three], `step ${at}`).toContain(left.three);
    // In their order: no later change without the ones before it.
    if (left.three !== undefined) expect([left.one, left.two], `step ${at}`).toEqual([AFTER.one, undefined]);
    await make(etc, changes);
    expect(files(etc), `step ${at}`).toEqual(AFTER);
  }
});

test('what the check does not accept is not written', async () => {
  const { etc, changes } = place();
  const refusing = async (): Promise<void> => {
    throw new Refusal('No.');
  };
  await expect(make(etc, changes, realDisk, refusing)).rejects.toThrow('No.');
  expect(files(etc)).toEqual(BEFORE);
});

test('a link or a directory in the place of a file is not followed or replaced', async () => {
  const { etc } = place();
  symlinkSync(join(etc, 'one'), join(etc, 'link'));
  mkdirSync(join(etc, 'directory'));
  for (const name of ['link', 'directory']) {
    await expect(make(etc, [{ path: join(etc, name), text: 'x\n' }])).rejects.toThrow(
      /is a link, a directory or too large/,
    );
  }
  expect(files(etc)).toEqual(BEFORE);
});

test('two at once: one of them is told to wait, and the other one is whole', async () => {
  const { etc, changes } = place();
  const others = changes.map((each) => ({ ...each, text: 'theirs\n' }));
  const parts = { disk: realDisk, etc, now: () => NOW, isAlive: () => true };
  const results = await Promise.allSettled([
    changeTogether('mode', changes, async () => {}, { ...parts, pid: 1 }),
    changeTogether('mode', others, async () => {}, { ...parts, pid: 2 }),
  ]);
  const refused = results.filter(({ status }) => status === 'rejected');
  expect(refused).toHaveLength(1);
  expect(String((refused[0] as PromiseRejectedResult).reason)).toMatch(
    /Another qmcpctl .* is changing settings just now/,
  );
  const isOurs = results[0]?.status === 'fulfilled';
  expect(files(etc)).toEqual(isOurs ? AFTER : { one: 'theirs\n', two: 'theirs\n', three: 'theirs\n' });
});

test('the lock of a process that is gone is taken over', async () => {
  const { etc, changes } = place();
  writeFileSync(join(etc, '.qmcpctl.lock'), '4242\n');
  await make(etc, changes);
  expect(files(etc)).toEqual(AFTER);
});

test('so many backups are kept, and the oldest make room', async () => {
  const { etc } = place();
  const owner = { mode: 0o644, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const dir = backupsOf(etc);
  for (let n = 0; n < BACKUPS_MAX + 2; n++) {
    await keepBackup(realDisk, dir, 'mode', [{ path: '/x', text: `${n}`, ...owner }], NOW + n);
  }
  await pruneBackups(realDisk, dir);
  const kept = await backupsIn(realDisk, dir);
  expect(kept).toHaveLength(BACKUPS_MAX);
  expect([kept[0]?.files[0]?.text, kept.at(-1)?.files[0]?.text]).toEqual([`${BACKUPS_MAX + 1}`, '2']);
});

test('a backup that was tampered with or is half there is left out', async () => {
  const { etc, changes } = place();
  const { backup } = await make(etc, changes);
  rmSync(join(backupsOf(etc), backup ?? '', '0'));
  expect(await backupsIn(realDisk, backupsOf(etc))).toEqual([]);
  writeFileSync(join(backupsOf(etc), backup ?? '', 'manifest.json'), '{"v":1}');
  expect(await backupsIn(realDisk, backupsOf(etc))).toEqual([]);
});

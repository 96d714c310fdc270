import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FILE_NAMES } from '../../daemon/settings/files.ts';
import { FILE_BYTES_MAX } from '../../daemon/settings/look.ts';
import { openSettings, type SettingsReader } from '../../daemon/settings/open.ts';

vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>();
  return { ...real, openSync: vi.fn(real.openSync), statSync: vi.fn(real.statSync) };
});
const { openSync, statSync } = await import('node:fs');
const opened = vi.mocked(openSync);

let root: string;
let dir: string;
let settings: SettingsReader;
const put = (name: string, text: string): void => fs.writeFileSync(join(dir, name), text);
const remove = (name: string): void => fs.rmSync(join(dir, name), { recursive: true });
const mkfifo = (path: string): void => {
  execFileSync('mkfifo', [path]);
};
/** A clock by which every change is long past, so that what did not change is not read again. */
const late = (): number => Date.now() + 60_000;
/** The same, and truly so: what changes after it was asked cannot get the time stamp of what changed before. */
const muchLater = (): number => {
  const before = stamp();
  while (stamp() === before);
  return late();
};
const stamp = (): bigint => {
  fs.writeFileSync(join(root, 'probe'), 'x');
  return fs.statSync(join(root, 'probe'), { bigint: true }).ctimeNs;
};

beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'qmcp-settings-'));
  dir = join(root, 'etc');
  fs.mkdirSync(dir);
  settings = openSettings(dir);
  opened.mockReset();
  vi.mocked(statSync).mockReset();
});
afterEach(() => {
  fs.rmSync(root, { recursive: true });
});

describe('the settings', () => {
  test('of a directory that does not exist are those without any file, until it appears', () => {
    fs.rmdirSync(dir);
    expect(settings.current()).toMatchObject({ tierDefault: 'full', complaints: [] });
    fs.mkdirSync(dir);
    put('tier-default', 'ro\n');
    expect(settings.current().tierDefault).toBe('ro');
    fs.rmSync(dir, { recursive: true });
    expect(settings.current().tierDefault).toBe('full');
  });

  test.each([
    ['while changes are young', Date.now],
    ['when all is long past', muchLater],
  ])('follow files that appear, change, are replaced and go, %s', (_, now) => {
    settings = openSettings(dir, now);
    expect(settings.current().tierDefault).toBe('full');
    put('tier-default', 'ro\n');
    expect(settings.current().tierDefault).toBe('ro');
    put('tier-default', 'full # again\n');
    expect(settings.current().tierDefault).toBe('full');
    put('new', 'ro\n');
    fs.renameSync(join(dir, 'new'), join(dir, 'tier-default'));
    expect(settings.current().tierDefault).toBe('ro');
    remove('tier-default');
    expect(settings.current().tierDefault).toBe('full');
  });

  test('follow a directory that is exchanged as a whole', () => {
    put('tier-default', 'full\n');
    settings = openSettings(dir, muchLater);
    expect(settings.current().tierDefault).toBe('full');
    fs.mkdirSync(join(root, 'other'));
    fs.writeFileSync(join(root, 'other', 'tier-default'), 'ro\n');
    fs.renameSync(dir, join(root, 'old'));
    fs.renameSync(join(root, 'other'), dir);
    expect(settings.current().tierDefault).toBe('ro');
  });

  test('see a change of the same length however soon it follows the last', () => {
    put('pool-cap', '1000');
    for (let cap = 1_000; cap < 1_300; cap += 1) {
      put('pool-cap', String(cap));
      expect(settings.current().poolCap).toBe(cap);
    }
  });

  test('see an old time put back on a changed file', () => {
    put('pool-cap', '10');
    fs.utimesSync(join(dir, 'pool-cap'), 1, 1);
    settings = openSettings(dir, muchLater);
    expect(settings.current().poolCap).toBe(10);
    put('pool-cap', '20');
    fs.utimesSync(join(dir, 'pool-cap'), 1, 1);
    expect(settings.current().poolCap).toBe(20);
  });

  test('are followed by a clock that was ahead and is set back', () => {
    let now = late;
    settings = openSettings(dir, () => now());
    expect(settings.current().tierDefault).toBe('full');
    now = Date.now;
    put('tier-default', 'ro\n');
    expect(settings.current().tierDefault).toBe('ro');
    put('tier-default', 'full\n');
    expect(settings.current().tierDefault).toBe('full');
  });

  test('leave no file open', () => {
    put('tier-default', 'ro\n');
    put('pool-cap', 'x'.repeat(FILE_BYTES_MAX + 1));
    settings.current();
    const open = fs.readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [fs.readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        return [];
      }
    });
    expect(open.filter((path) => path.startsWith(root))).toEqual([]);
  });

  test('are the same object for as long as no content changed', () => {
    put('tier-default', 'ro\n');
    put('guarded', '?\n');
    fs.mkdirSync(join(dir, 'pool-cap'));
    for (const now of [Date.now, muchLater]) {
      settings = openSettings(dir, now);
      const first = settings.current();
      expect(settings.current()).toBe(first);
      fs.utimesSync(join(dir, 'tier-default'), 1, 1);
      put('guarded', '?\n');
      put('unrelated', 'x');
      expect(settings.current()).toBe(first);
      put('guarded', '!\n');
      expect(settings.current()).not.toBe(first);
      put('guarded', '?\n');
    }
  });

  test('open nothing that did not change, and only what did', () => {
    for (const name of FILE_NAMES) put(name, '# x\n');
    settings = openSettings(dir, muchLater);
    settings.current();
    expect(opened).toHaveBeenCalledTimes(FILE_NAMES.length);
    settings.current();
    expect(opened).toHaveBeenCalledTimes(FILE_NAMES.length);
    put('guarded', '# y and more\n');
    settings.current();
    expect(opened).toHaveBeenCalledTimes(FILE_NAMES.length + 1);
    expect(opened.mock.lastCall?.[0]).toBe(join(dir, 'guarded'));
  });

  test('look at the directory alone where no file was and nothing changed', () => {
    settings = openSettings(dir, late);
    settings.current();
    vi.mocked(statSync).mockClear();
    settings.current();
    expect(vi.mocked(statSync).mock.calls.map(([path]) => path)).toEqual([dir]);
  });

  test.each(['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'])('read a file again for a change of its %s alone', (field) => {
    put('guarded', '# x\n');
    settings = openSettings(dir, late);
    settings.current();
    expect(opened).toHaveBeenCalledTimes(1);
    vi.mocked(statSync).mockImplementation(((path: string) => {
      const stat = fs.statSync(path, { bigint: true, throwIfNoEntry: false });
      return stat?.isFile() ? Object.assign(stat, { [field]: 0n }) : stat;
    }) as typeof fs.statSync);
    settings.current();
    expect(opened).toHaveBeenCalledTimes(2);
  });

  test('settle: a file is read again while its change is young, and no longer', () => {
    put('guarded', '# x\n');
    const changed = Number(fs.statSync(join(dir, 'guarded'), { bigint: true }).ctimeMs);
    let now = changed + 1_000;
    settings = openSettings(dir, () => now);
    settings.current();
    settings.current();
    expect(opened).toHaveBeenCalledTimes(2);
    now = changed + 1_001;
    settings.current();
    settings.current();
    settings.current();
    expect(opened).toHaveBeenCalledTimes(3);
  });
});

describe('what stands in the place of a file', () => {
  const isUnreadable = (why: string): void => {
    const { enforceMode, complaints } = settings.current();
    expect(enforceMode).toBe('strict');
    expect(complaints).toEqual([
      {
        file: 'enforce-mode',
        line: null,
        sentence: `The file cannot be read: it ${why}. Until it is mended, the mode is strict.`,
      },
    ]);
    // Nothing about it is remembered as good.
    expect(settings.current().enforceMode).toBe('strict');
    remove('enforce-mode');
    expect(settings.current()).toMatchObject({ enforceMode: 'shadow', complaints: [] });
  };

  test.each([
    ['while changes are young', Date.now],
    ['when all is long past', muchLater],
  ])('is unreadable unless it is a regular file, and never waited for, %s', async (_, now) => {
    settings = openSettings(dir, now);
    settings.current();
    const path = join(dir, 'enforce-mode');
    fs.mkdirSync(path);
    isUnreadable('is not a regular file');
    mkfifo(path);
    isUnreadable('is not a regular file');
    fs.symlinkSync('/dev/tty', path);
    isUnreadable('is not a regular file');
    fs.symlinkSync('nowhere', path);
    isUnreadable('is a link to nothing');
    fs.symlinkSync('enforce-mode', path);
    isUnreadable('gives ELOOP');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    isUnreadable('is not a regular file');
    await new Promise((resolve) => server.close(resolve));
  });

  test('is complained about anew when it is unreadable for another reason', () => {
    fs.mkdirSync(join(dir, 'enforce-mode'));
    const first = settings.current();
    remove('enforce-mode');
    fs.symlinkSync('nowhere', join(dir, 'enforce-mode'));
    expect(settings.current()).not.toBe(first);
    expect(settings.current().complaints[0]?.sentence).toContain('is a link to nothing');
  });

  test('may be a link to a file, which is followed when it changes', () => {
    fs.writeFileSync(join(root, 'mode'), 'enforce\n');
    fs.symlinkSync('../mode', join(dir, 'enforce-mode'));
    settings = openSettings(dir, muchLater);
    expect(settings.current().enforceMode).toBe('enforce');
    fs.writeFileSync(join(root, 'mode'), 'shadow\n');
    expect(settings.current().enforceMode).toBe('shadow');
    fs.rmSync(join(root, 'mode'));
    expect(settings.current().enforceMode).toBe('strict');
    fs.writeFileSync(join(root, 'mode'), 'shadow\n');
    expect(settings.current().enforceMode).toBe('shadow');
  });

  test('is read up to a limit', () => {
    put('enforce-mode', `enforce\n#${'x'.repeat(FILE_BYTES_MAX - 9)}`);
    expect(settings.current().enforceMode).toBe('enforce');
    put('enforce-mode', `enforce\n#${'x'.repeat(FILE_BYTES_MAX - 8)}`);
    isUnreadable(`is larger than ${FILE_BYTES_MAX} bytes`);
  });

  test('is not waited for if a fifo comes between the look and the opening', () => {
    put('enforce-mode', 'enforce\n');
    opened.mockImplementationOnce((path, flags) => {
      fs.rmSync(path);
      mkfifo(String(path));
      return fs.openSync(path, flags);
    });
    isUnreadable('is not a regular file');
  });

  test('that could not be opened once is tried again', () => {
    put('enforce-mode', 'enforce\n');
    settings = openSettings(dir, muchLater);
    opened.mockImplementationOnce(() => {
      throw Object.assign(new Error('no more files'), { code: 'EMFILE' });
    });
    expect(settings.current().complaints[0]?.sentence).toContain('it gives EMFILE.');
    expect(settings.current()).toMatchObject({ enforceMode: 'enforce', complaints: [] });
  });

  test.each([
    ['an error without a code', new Error('no'), 'gives an unknown error'],
    ['a code that is none', Object.assign(new Error('no'), { code: 7 }), 'gives an unknown error'],
    ['what is no error', { code: 'EACCES' }, 'gives an unknown error'],
    ['an error with a code', Object.assign(new Error('no'), { code: 'EIO' }), 'gives EIO'],
  ])('that fails with %s is unreadable, in words of ours', (_, thrown, why) => {
    put('enforce-mode', 'enforce\n');
    opened.mockImplementation(() => {
      throw thrown;
    });
    expect(settings.current().complaints[0]?.sentence).toBe(
      `The file cannot be read: it ${why}. Until it is mended, the mode is strict.`,
    );
    opened.mockReset();
  });

  test('makes every setting strict if it stands in the place of the directory', () => {
    fs.rmdirSync(dir);
    fs.writeFileSync(dir, '');
    expect(settings.current()).toMatchObject({
      tierDefault: 'ro',
      enforceMode: 'strict',
      guarded: { unreadable: true },
    });
    expect(settings.current().complaints).toHaveLength(FILE_NAMES.length);
    const why = (): string | undefined => /it (.*?)\./.exec(settings.current().complaints[0]?.sentence ?? '')?.[1];
    expect(why()).toBe('is below something that is not a directory');
    fs.rmSync(dir);
    fs.symlinkSync('nowhere', dir);
    expect(settings.current().tierDefault).toBe('ro');
    expect(why()).toBe('is below a link to nothing');
    fs.rmSync(dir);
    fs.symlinkSync('etc', dir);
    expect(settings.current().tierDefault).toBe('ro');
    expect(why()).toBe('gives ELOOP');
    fs.rmSync(dir);
    fs.mkdirSync(dir);
    expect(settings.current().tierDefault).toBe('full');
  });
});

test('asking for unchanged settings takes less than 100 µs, with all files there and with none', () => {
  for (const text of [null, '# x\n']) {
    if (text !== null) for (const name of FILE_NAMES) put(name, text);
    settings = openSettings(dir, late);
    const times = Array.from({ length: 400 }, () => {
      const start = process.hrtime.bigint();
      settings.current();
      return Number(process.hrtime.bigint() - start) / 1_000;
    });
    // The faster ones: how long it takes, not how busy the machine is.
    expect(times.sort((a, b) => a - b)[40]).toBeLessThan(100);
  }
});

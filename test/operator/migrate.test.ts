// On a root of files that look like an installation of the implementation in use before; the real thing is in test/install.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { DONE, FAILED, type Io, runCommand } from '../../daemon/operator/command.ts';
import { moveAside, moveBack, type Parts } from '../../daemon/operator/migrate/move.ts';
import { OUR_LINK, remainsBelow } from '../../daemon/operator/migrate/remains.ts';
import { migrate } from '../../daemon/operator/migrate.ts';
import type { ToolEnd } from '../../daemon/qubesadmin/tool.ts';

const THEIRS = [
  '/etc/qubes-rpc/qmcp.LifecycleAIManaged',
  '/etc/qubes-rpc/qmcp.ListAIManagedQubes',
  '/etc/qubes/policy.d/30-mcp-control.policy',
  '/etc/qubes-rpc/qmcp_consent.py',
  '/etc/qubes-rpc/__pycache__/qmcp_consent.cpython-313.pyc',
  '/etc/systemd/system/qmcp-tombstone-reaper.service',
  '/etc/systemd/system/qmcp-tombstone-reaper.timer',
  '/etc/systemd/system/timers.target.wants/qmcp-tombstone-reaper.timer',
  '/home/user/.config/systemd/user/qmcp-consent.service',
  '/home/user/.config/systemd/user/graphical-session.target.wants/qmcp-consent.service',
  '/etc/tmpfiles.d/qmcp.conf',
  '/usr/local/lib/qmcp',
];
const OTHERS = [
  '/etc/qubes-rpc/qubes.Filecopy',
  '/etc/qubes/policy.d/30-user.policy',
  '/etc/qubes/policy.d/32-qmcp.policy',
  '/etc/systemd/system/qmcp-brokerd.service',
  '/etc/systemd/system/qmcp-brokerd.service.d',
  '/etc/qmcp/pool-cap',
  '/home/user/.config/systemd/user/other.service',
  '/var/log/qmcp-audit.log',
  '/usr/local/lib/other',
];

let root: string;
let said: string;
let complained: string;
let answer: string | null;
const io: Io = {
  async out(text) {
    said += text;
  },
  err(text) {
    complained += text;
  },
  watched: false,
  colour: false,
  ask: async () => answer,
  input: async () => '',
  now: () => Date.UTC(2026, 10, 20, 12, 0, 0),
};
const parts = (over: Partial<Parts> = {}): Parts => ({ root, tools: null, now: io.now, ...over });

const put = (path: string, text = `of ${path}\n`): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
};

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'qmcp-migrate-'));
  [said, complained, answer] = ['', '', 'y'];
  for (const path of [...THEIRS, ...OTHERS]) {
    if (path.endsWith('/lib/qmcp')) put(`${path}/qmcp-consentd`);
    else if (path.endsWith('.d') || path.endsWith('/other')) put(`${path}/file`);
    else if (path.includes('.wants/')) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      symlinkSync('../nowhere', join(root, path));
    } else put(path);
  }
  chmodSync(join(root, '/etc/qubes-rpc/qmcp.LifecycleAIManaged'), 0o755);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Every file below the root with its mode and content, or its target. */
const picture = (below = ''): Record<string, string> =>
  Object.fromEntries(
    readdirSync(join(root, below), { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        const mode = (lstatSync(path).mode & 0o7777).toString(8);
        return [path.slice(root.length), `${mode} ${entry.isSymbolicLink() ? readlinkSync(path) : readFileSync(path)}`];
      }),
  );
const there = (path: string): boolean => lstatSync(join(root, path), { throwIfNoEntry: false }) !== undefined;
const run = (...args: string[]): Promise<number> => runCommand(migrate, ['--root', root, ...args], io);

describe('what the implementation before left', () => {
  it('is found, and nothing else is', async () => {
    expect((await remainsBelow(root)).map(({ path }) => path).sort()).toEqual(THEIRS.toSorted());
  });

  it('does not include the links of our own package', async () => {
    rmSync(join(root, '/etc/qubes-rpc'), { recursive: true });
    mkdirSync(join(root, '/etc/qubes-rpc'));
    symlinkSync(OUR_LINK, join(root, '/etc/qubes-rpc/qmcp.Status'));
    symlinkSync('/somewhere/else', join(root, '/etc/qubes-rpc/qmcp.Commit'));
    const found = (await remainsBelow(root)).map(({ path }) => path);
    expect(found.filter((path) => path.startsWith('/etc/qubes-rpc'))).toEqual(['/etc/qubes-rpc/qmcp.Commit']);
  });

  it('is nothing on a machine where it never was', async () => {
    const empty = join(root, 'empty');
    mkdirSync(empty);
    expect(await remainsBelow(empty)).toEqual([]);
  });

  it('is not looked for behind a link', async () => {
    rmSync(join(root, '/etc/systemd'), { recursive: true });
    mkdirSync(join(root, 'elsewhere/system'), { recursive: true });
    writeFileSync(join(root, 'elsewhere/system/qmcp-gate.timer'), '');
    mkdirSync(join(root, '/etc/systemd'));
    symlinkSync('../../elsewhere/system', join(root, '/etc/systemd/system'));
    expect((await remainsBelow(root)).map(({ path }) => path)).not.toContain('/etc/systemd/system/qmcp-gate.timer');
  });
});

describe('moved aside', () => {
  it('it is gone from its places, and everything else is as it was', async () => {
    const before = picture();
    expect(await run()).toBe(DONE);
    for (const path of THEIRS) expect(there(path), path).toBe(false);
    for (const path of OTHERS) expect(there(path), path).toBe(true);
    expect(picture('/etc/qmcp')).toEqual(
      Object.fromEntries(Object.entries(before).filter(([path]) => path.startsWith('/etc/qmcp/'))),
    );
    expect(said).toContain('Moved to /var/lib/qmcp-migration/20261120T120000000Z.');
    expect(said).toContain('Install qmcp-broker next.');
  });

  it('and back, everything is as it was to the last bit', async () => {
    chmodSync(join(root, '/etc/qmcp/pool-cap'), 0o600);
    const before = picture();
    expect(await run('--yes')).toBe(DONE);
    expect(await run('--back')).toBe(DONE);
    const after = Object.entries(picture()).filter(([path]) => !path.startsWith('/var/lib/qmcp-migration/'));
    expect(Object.fromEntries(after)).toEqual(before);
  });

  it('it lies where only root can put something', async () => {
    await run('--yes');
    expect(lstatSync(join(root, '/var/lib/qmcp-migration/20261120T120000000Z')).mode & 0o7777).toBe(0o700);
  });

  it('the settings are copied, and those that only root could read become readable for the daemon', async () => {
    chmodSync(join(root, '/etc/qmcp/pool-cap'), 0o600);
    await run('--yes');
    expect(lstatSync(join(root, '/etc/qmcp/pool-cap')).mode & 0o777).toBe(0o644);
    const copy = join(root, '/var/lib/qmcp-migration/20261120T120000000Z/etc-qmcp/pool-cap');
    expect(readFileSync(copy, 'utf8')).toBe('of /etc/qmcp/pool-cap\n');
    expect(lstatSync(copy).mode & 0o777).toBe(0o600);
  });

  it('what this broker reads differently is said', async () => {
    put('/etc/qmcp/consent-policy', '# nothing\n');
    await run('--yes');
    expect(said).toMatch(/pool-cap, line 1: 'of \/etc\/qmcp\/pool-cap' is not understood/);
    expect(said).toContain('nothing is asked, not even before a qube is destroyed');
  });

  it('a second time there is nothing to move', async () => {
    await run('--yes');
    said = '';
    expect(await run('--yes')).toBe(DONE);
    expect(said).toBe('There is nothing of another implementation here.\n');
  });
});

describe('nothing is moved', () => {
  test.each([['n'], [''], ['Yes, but']])('when the person answers %j', async (word) => {
    answer = word;
    const before = picture();
    expect(await run()).toBe(FAILED);
    expect(picture()).toEqual(before);
    expect(complained).toBe('Nothing was moved.\n');
  });

  it('when nobody is there to answer', async () => {
    answer = null;
    const before = picture();
    expect(await run()).toBe(FAILED);
    expect(picture()).toEqual(before);
    expect(complained).toContain('Add --yes');
  });

  it('on a dry run, which shows each path', async () => {
    const before = picture();
    expect(await run('--dry-run')).toBe(DONE);
    expect(picture()).toEqual(before);
    for (const path of THEIRS) expect(said).toContain(path);
  });

  it('with --json and --dry-run, which gives them for another program', async () => {
    expect(await run('--dry-run', '--json')).toBe(DONE);
    expect(JSON.parse(said)).toMatchObject({ directory: null, moved: expect.arrayContaining(THEIRS) });
  });
});

describe('moving back', () => {
  it('has nothing to do where nothing was moved', async () => {
    expect(await run('--back')).toBe(FAILED);
    expect(complained).toContain('There is nothing to move back');
  });

  it('is refused whole while our package has its links there', async () => {
    await run('--yes');
    symlinkSync(OUR_LINK, join(root, '/etc/qubes-rpc/qmcp.ListAIManagedQubes'));
    const before = picture();
    expect(await run('--back')).toBe(FAILED);
    expect(picture()).toEqual(before);
    expect(complained).toContain('Remove the package qmcp-broker first');
  });

  it('goes on where a move was cut short, in either direction', async () => {
    const before = picture();
    const { directory, moved } = await moveAside(await remainsBelow(root), parts());
    // As if it had been cut short after the first half.
    for (const { from, to } of moved.slice(6)) {
      mkdirSync(dirname(join(root, from)), { recursive: true });
      renameSync(join(root, directory, to), join(root, from));
    }
    await moveBack(parts());
    const after = Object.entries(picture()).filter(([path]) => !path.startsWith('/var/lib/qmcp-migration/'));
    expect(Object.fromEntries(after)).toEqual(before);
  });

  it('takes the newest of several', async () => {
    await moveAside(await remainsBelow(root), parts());
    put('/etc/qubes-rpc/qmcp.ListAIManagedQubes', 'put there again\n');
    await moveAside(await remainsBelow(root), parts({ now: () => io.now() + 1 }));
    await moveBack(parts());
    expect(readFileSync(join(root, '/etc/qubes-rpc/qmcp.ListAIManagedQubes'), 'utf8')).toBe('put there again\n');
    expect(existsSync(join(root, '/etc/qubes-rpc/qmcp.LifecycleAIManaged'))).toBe(false);
  });

  it('says what to do where the list is damaged', async () => {
    const { directory } = await moveAside(await remainsBelow(root), parts());
    writeFileSync(join(root, directory, 'manifest.json'), '{"v":1,"moved":[{"from":"/etc/shadow","to":"../../x"}]}');
    await expect(moveBack(parts())).rejects.toThrow('Move back by hand');
  });
});

test('the units that ran are stopped before, and started after', async () => {
  const calls: string[] = [];
  const ran = new Set(['qmcp-tombstone-reaper.timer', 'qmcp-consent.service']);
  const run = async (_: string, args: readonly string[]): Promise<ToolEnd> => {
    calls.push(args.join(' '));
    const known = !args.includes('is-active') || ran.has(args.at(-1) ?? '');
    return known ? { kind: 'done' } : { kind: 'failed', why: 'status 3' };
  };
  const tools = { has: async () => true, run };
  await moveAside(await remainsBelow(root), parts({ tools }));
  expect(calls.filter((call) => !call.includes('is-active'))).toEqual([
    'stop qmcp-tombstone-reaper.service',
    'stop qmcp-tombstone-reaper.timer',
    '--user -M user@ stop qmcp-consent.service',
    'daemon-reload',
    '--user -M user@ daemon-reload',
  ]);
  calls.length = 0;
  await moveBack(parts({ tools }));
  expect(calls).toEqual([
    'daemon-reload',
    '--user -M user@ daemon-reload',
    'start qmcp-tombstone-reaper.timer',
    '--user -M user@ start qmcp-consent.service',
  ]);
});

test('a move that fails in the middle is taken back, and the units run again', async () => {
  chmodSync(join(root, '/etc/qmcp/pool-cap'), 0o600);
  const calls: string[] = [];
  const run = async (_: string, args: readonly string[]): Promise<ToolEnd> => {
    calls.push(args.join(' '));
    // The last of what is moved cannot be reached any more.
    if (args.includes('stop') && there('/usr/local/lib/qmcp')) {
      rmSync(join(root, '/usr/local'), { recursive: true });
      put('/usr/local');
    }
    return { kind: 'done' };
  };
  const remains = await remainsBelow(root);
  const before = picture();
  const error = await moveAside(remains, parts({ tools: { has: async () => true, run } })).catch(String);
  expect(error).toMatch(/Nothing was moved\. .*\/usr\/local\/lib\/qmcp: /);
  const theirs = (of: Record<string, string>) => Object.entries(of).filter(([path]) => !path.startsWith('/usr/local'));
  expect(theirs(picture())).toEqual(theirs(before));
  expect(there('/var/lib/qmcp-migration')).toBe(false);
  expect(calls.at(-1)).toMatch(/start qmcp-consent\.service$/);
});

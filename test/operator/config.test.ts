// qmcpctl config and mode, as typed, on the files of a running daemon.
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { type Daemon, QUIET, startDaemon } from '../broker/daemon.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { placesOf, qmcpctlOf } from './stage.ts';

const SETTINGS = 14;

/** A daemon with our policy beside it, in mode compat as it is shipped. */
const installed = async (operatorFiles: Record<string, string> = QUIET) => {
  const started = await startDaemon({ operatorFiles, fleet: FLEET_F0 });
  const policy = join(started.daemon.root, 'policy.d');
  cpSync('policy', policy, { recursive: true });
  await started.daemon.end();
  await started.daemon.start(['--policy', policy]);
  return { ...started, policy, run: qmcpctlOf(started.daemon) };
};
const setting = ({ etc }: Daemon, name: string): string | null =>
  existsSync(join(etc, name)) ? readFileSync(join(etc, name), 'utf8') : null;
const include = (policy: string): string => readFileSync(join(policy, 'include/qmcp-mode'), 'utf8');
/** Everything that is left of a change that was refused: nothing. */
const leftovers = (...dirs: string[]): string[] =>
  dirs.flatMap((dir) => readdirSync(dir).filter((name) => name.startsWith('.')));

describe('config', () => {
  test('lists every setting with what stands for it where there is no file', async () => {
    const { daemon } = await startDaemon();
    const run = qmcpctlOf(daemon);
    const { code, out } = await run('config', 'list');
    expect(code).toBe(0);
    expect(out.split('\n')).toHaveLength(SETTINGS + 2);
    expect(out).toMatch(/^pool-cap +1099511627776 \(1\.0 TiB\) +file$/m);
    expect(out).toMatch(/^consent-timeout +300 \(5 minutes\) +default$/m);
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    const json = JSON.parse((await run('config', 'list', '--json')).out);
    expect(json).toHaveLength(SETTINGS);
    expect(json[4]).toEqual({ name: 'pool-cap', from: 'file', lines: ['1099511627776'], complaints: [] });
  });

  test('sets what the daemon follows from the next call on, keeps what was there, and puts it back', async () => {
    const { daemon } = await startDaemon({ operatorFiles: { ...QUIET, guarded: '# mine\nvault\n' } });
    const run = qmcpctlOf(daemon);
    const set = await run('config', 'set', 'guarded', 'ai-work', 'vault', '--json');
    expect(set.code).toBe(0);
    const { changed, backup } = JSON.parse(set.out);
    expect(changed).toEqual([join(daemon.etc, 'guarded')]);
    expect(setting(daemon, 'guarded')).toBe('ai-work\nvault\n');
    const list = await run('config', 'restore');
    expect(list.out).toContain(`${backup}  config set guarded  guarded\n`);
    const restored = await run('config', 'restore', backup);
    expect(restored).toMatchObject({ code: 0, err: '' });
    expect(setting(daemon, 'guarded')).toBe('# mine\nvault\n');
    expect(JSON.parse((await run('config', 'restore', '--json')).out)).toHaveLength(2);
    expect(leftovers(daemon.etc)).toEqual([]);
    await daemon.end();
    const verbs = daemon.journal().flatMap(({ type, verb }) => (type === 'operator' ? [verb] : []));
    expect(verbs).toEqual(['config set guarded', 'config restore']);
  });

  test('takes sizes and times with a unit, and a whole file with its comments', async () => {
    const { daemon } = await startDaemon();
    const run = qmcpctlOf(daemon);
    expect(await run('config', 'set', 'pool-cap', '50GiB')).toMatchObject({ code: 0 });
    expect(setting(daemon, 'pool-cap')).toBe('53687091200\n');
    await run('config', 'set', 'tombstone-retention', '12h');
    expect(setting(daemon, 'tombstone-retention')).toBe('43200\n');
    const file = join(daemon.root, 'mine');
    writeFileSync(file, '# Gr\xfc\xdfe\nqmcp.SpawnAIManagedQube:spawn\n', 'latin1');
    expect(await run('config', 'set', 'consent-policy', '--file', file)).toMatchObject({ code: 0 });
    expect(readFileSync(join(daemon.etc, 'consent-policy'))).toEqual(readFileSync(file));
    expect(await run('config', 'get', 'consent-policy')).toMatchObject({ out: 'qmcp.SpawnAIManagedQube:spawn\n' });
    expect(await run('config', 'unset', 'consent-policy')).toMatchObject({ code: 0 });
    expect(setting(daemon, 'consent-policy')).toBeNull();
    expect((await run('config', 'get', 'consent-policy')).out).toBe('what destroys something\n');
  });

  test.each([
    [
      'a value that is none',
      ['pool-cap', 'lots'],
      1,
      /pool-cap, line 1: 'lots' is not understood; write a number of bytes/,
    ],
    ['one bad entry of several', ['guarded', 'vault', 'a b'], 1, /guarded, line 2: 'a b' is not understood/],
    ['a second value', ['pool-cap', '1', '2'], 2, /takes one value/],
    ['no value', ['pool-cap'], 2, /Say what pool-cap is to be/],
    ['a line break', ['guarded', 'a\nb'], 2, /neither line breaks nor #/],
    ['a comment', ['guarded', 'a # b'], 2, /neither line breaks nor #/],
    ['a setting that there is not', ['guraded', 'x'], 2, /Did you mean guarded\?/],
    ['tier-default', ['tier-default', 'ro'], 2, /qmcpctl mode/],
    ['a file that there is not', ['guarded', '--file', '/nonexistent'], 1, /There is no file/],
    ['a file and a value', ['guarded', 'x', '--file', '/etc/passwd'], 2, /not both/],
    ['a flag that nobody knows', ['guarded', 'x', '--loud'], 2, /Unknown option '--loud'/],
  ])('refuses %s, and everything is as it was', async (_, args, code, sentence) => {
    const { daemon } = await startDaemon();
    const before = readdirSync(daemon.etc).sort();
    const { code: ended, out, err } = await qmcpctlOf(daemon)('config', 'set', ...args);
    expect({ ended, out }).toEqual({ ended: code, out: '' });
    expect(err).toMatch(sentence);
    expect(readdirSync(daemon.etc).sort()).toEqual(before);
  });

  test('says of a malformed file which line, and what holds instead', async () => {
    const { daemon } = await startDaemon({ operatorFiles: { ...QUIET, 'tier-default': '# x\nfulll\n' } });
    const run = qmcpctlOf(daemon);
    const got = await run('config', 'get', 'tier-default');
    expect(got).toMatchObject({
      code: 1,
      out: 'fulll\n',
      err: expect.stringMatching(/tier-default, line 2: .*only be read/),
    });
    expect((await run('config', 'list')).code).toBe(1);
  });

  test('says what to do where a directory is missing, or closed to this user', async () => {
    const { daemon } = await startDaemon();
    const run = qmcpctlOf(daemon);
    rmSync(daemon.etc, { recursive: true });
    expect(await run('config', 'set', 'pool-cap', '1')).toMatchObject({
      code: 1,
      err: expect.stringContaining('qmcpctl init'),
    });
  });

  test('writes although the daemon is down, and says when it will be followed', async () => {
    const { daemon } = await startDaemon();
    await daemon.end();
    const { code, err } = await qmcpctlOf(daemon)('config', 'set', 'pool-cap', '1GiB');
    expect({ code, err }).toEqual({
      code: 0,
      err: 'The daemon is not running; it reads the settings when it starts.\n',
    });
    expect(setting(daemon, 'pool-cap')).toBe('1073741824\n');
  });

  test('ten writers at once: whoever is told to wait changed nothing, and what is there is whole', async () => {
    const { daemon } = await startDaemon();
    const run = qmcpctlOf(daemon);
    const values = Array.from({ length: 10 }, (_, n) => String(10 ** n));
    const ran = await Promise.all(values.map((value) => run('config', 'set', 'pool-cap', value)));
    const done = values.filter((_, n) => ran[n]?.code === 0);
    for (const { code, err } of ran.filter(({ code }) => code !== 0)) {
      expect(code).toBe(1);
      expect(err).toMatch(/is changing settings just now/);
    }
    expect(done.map((value) => `${value}\n`)).toContain(setting(daemon, 'pool-cap'));
    expect(JSON.parse((await run('config', 'restore', '--json')).out)).toHaveLength(done.length);
    expect(leftovers(daemon.etc)).toEqual([]);
  }, 60_000);
});

describe('mode', () => {
  test('says which mode is in force', async () => {
    const { run } = await installed();
    expect(await run('mode')).toMatchObject({
      code: 0,
      out: 'compat: a managed qube without a tier grants everything (full).\n',
    });
    expect(JSON.parse((await run('mode', '--json')).out)).toMatchObject({ mode: 'compat', policy: 'compat' });
  });

  test('shows who loses what, and changes setting and policy together only after a yes', async () => {
    const { daemon, policy, run } = await installed();
    const shown = await run('mode', 'least-privilege', '--dry-run');
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(shown.out).toMatch(/^ai-idle +ro +read +exec net full$/m);
    expect(shown.out).toMatch(/^ai-exec1 +exec +read exec +net$/m);
    expect(shown.out).not.toMatch(/ai-full1|vault/);
    expect(shown.out).toMatch(/Nothing was changed\.\n$/);
    expect(await run('mode', 'least-privilege')).toMatchObject({ code: 1, err: expect.stringContaining('--yes') });
    expect([setting(daemon, 'tier-default'), include(policy)]).toEqual([
      null,
      expect.stringContaining('qmcp-compat\n'),
    ]);

    const done = await run('mode', 'least-privilege', '--yes');
    expect(done).toMatchObject({ code: 0, err: '' });
    expect(setting(daemon, 'tier-default')).toBe('ro\n');
    expect(include(policy)).toMatch(/^## The mode in force[\s\S]*\n!include include\/qmcp-least-privilege\n$/);
    expect(await daemon.call('qmcp.LifecycleAIManaged', { name: 'ai-idle', action: 'start' })).toEqual({
      ...{ ok: false, error: 'not found' },
    });
    expect(await run('mode', 'least-privilege', '--yes')).toMatchObject({
      out: expect.stringContaining('was least-privilege already'),
    });

    const [, id = ''] = /config restore (\S+)/.exec(done.out) ?? [];
    expect(await run('config', 'restore', id)).toMatchObject({ code: 0 });
    expect([setting(daemon, 'tier-default'), include(policy)]).toEqual([
      null,
      expect.stringContaining('qmcp-compat\n'),
    ]);
    expect(await daemon.call('qmcp.LifecycleAIManaged', { name: 'ai-idle', action: 'start' })).toEqual({ ok: true });
  });

  test('asks on a terminal, and takes only a yes', async () => {
    const { daemon, run } = await installed();
    const typed = (answer: string) =>
      execa(
        'script',
        [
          '-qec',
          `${process.execPath} dist/qmcpctl.mjs mode least-privilege ${placesOf(daemon).join(' ')}`,
          '/dev/null',
        ],
        {
          input: `${answer}\n`,
          reject: false,
          env: { NO_COLOR: '1' },
        },
      );
    for (const no of ['n', '', 'yesno']) {
      expect((await typed(no)).stdout).toContain('Nothing was changed.');
      expect(setting(daemon, 'tier-default')).toBeNull();
    }
    expect((await typed('y')).stdout).toContain('The mode is least-privilege.');
    expect((await run('mode')).out).toContain('least-privilege');
  });

  test('what the real lint does not accept is not written, and what it does is', async () => {
    const { daemon, policy, run } = await installed();
    const lint = join(daemon.tools, 'qubes-policy-lint');
    const seen = join(daemon.root, 'linted');
    writeFileSync(lint, `#!/bin/sh\n/bin/cat "$1" >${seen}\necho "$1:3: error: no"\nexit 1\n`);
    chmodSync(lint, 0o755);
    const refused = await run('mode', 'least-privilege', '--yes');
    expect(refused).toMatchObject({
      code: 1,
      err: expect.stringMatching(/qubes-policy-lint does not accept the policy\. .*:3: error: no/),
    });
    expect([setting(daemon, 'tier-default'), include(policy)]).toEqual([
      null,
      expect.stringContaining('qmcp-compat\n'),
    ]);
    expect(leftovers(daemon.etc, join(policy, 'include'))).toEqual([]);
    writeFileSync(lint, `#!/bin/sh\n/bin/cat "$1" >${seen}\n`);
    expect(await run('mode', 'least-privilege', '--yes')).toMatchObject({ code: 0 });
    expect(readFileSync(seen, 'utf8')).toBe(include(policy));
  });

  test('without our policy it changes nothing, unless it is told to write the setting alone', async () => {
    const { daemon } = await startDaemon();
    const run = qmcpctlOf(daemon);
    expect(await run('mode', 'least-privilege', '--yes')).toMatchObject({
      code: 1,
      err: expect.stringContaining('--without-policy'),
    });
    expect(setting(daemon, 'tier-default')).toBeNull();
    expect(await run('mode', 'least-privilege', '--yes', '--without-policy')).toMatchObject({ code: 0 });
    expect(setting(daemon, 'tier-default')).toBe('ro\n');
    const { run: other } = await installed();
    expect(await other('mode', 'compat', '--yes', '--without-policy')).toMatchObject({ code: 2 });
  });

  test('mends two places that disagree, and says so where it is only asked', async () => {
    const { daemon, policy, run } = await installed({ ...QUIET, 'tier-default': 'ro\n' });
    expect(await run('mode')).toMatchObject({ code: 1, err: expect.stringContaining('is in mode compat') });
    expect(await run('mode', 'least-privilege', '--yes')).toMatchObject({ code: 0 });
    expect(await run('mode')).toMatchObject({ code: 0, err: '' });
    expect([setting(daemon, 'tier-default'), include(policy)]).toEqual([
      'ro\n',
      expect.stringContaining('least-privilege\n'),
    ]);
  });

  test.each([
    ['another mode', ['paranoid'], 2],
    ['two modes', ['compat', 'least-privilege'], 2],
    ['JSON without saying whether to do it', ['compat', '--json'], 2],
  ])('refuses %s', async (_, args, code) => {
    const { run } = await installed();
    expect((await run('mode', ...args)).code).toBe(code);
  });

  test('needs qubesd to say who loses what, and changes nothing without it', async () => {
    const { daemon, qubesd, run } = await installed();
    await qubesd.stop();
    expect(await run('mode', 'least-privilege', '--yes')).toMatchObject({
      code: 1,
      err: expect.stringContaining('qubesd'),
    });
    expect(setting(daemon, 'tier-default')).toBeNull();
  });
});

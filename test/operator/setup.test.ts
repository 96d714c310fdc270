// qmcpctl init and principals: the first day, and who is who from the second on.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startDaemon } from '../broker/daemon.ts';
import { FLEET } from '../demo/fleet.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { verbsOf } from './stage.ts';

const KEY = 'A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=';
const OTHER_KEY = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=';

describe('init', () => {
  const fresh = async (fleet: FleetSpec = FLEET) => {
    const { daemon, qubesd } = await startDaemon({ fleet, operatorFiles: {} });
    return { daemon, qubesd, run: verbsOf(daemon) };
  };
  const steps = (out: string): { state: string; what: string; command: string | null }[] => JSON.parse(out).steps;

  test('shows what there is and what is missing, and changes nothing', async () => {
    const { daemon, qubesd, run } = await fresh();
    const { code, out, err } = await run(['init']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^do {4}Write pool-cap 200\.0 GiB.*\n.* which take 124\.0 GiB now/m);
    expect(out).toMatch(/^do {4}Write birth-egress ai-net-router/m);
    expect(out).toMatch(/^you {3}Make the key[\s\S]*\$ sudo qmcpctl config set confirm\.pub/m);
    expect(out).toMatch(/Nothing was changed\. To do what is marked do: sudo qmcpctl init --apply\n$/);
    expect(readdirSync(daemon.etc)).toEqual([]);
    expect(qubesd.changes()).toEqual([]);
  });

  test('writes what is missing in one change, and a second time nothing', async () => {
    const { daemon, run } = await fresh();
    const first = JSON.parse((await run(['init', '--apply', '--pool-cap', '80GiB', '--json'])).out);
    expect(first.changed.map((path: string) => path.split('/').at(-1)).sort()).toEqual([
      'birth-egress',
      'pool-cap',
      'private-cap',
    ]);
    expect(readFileSync(join(daemon.etc, 'pool-cap'), 'utf8')).toBe('85899345920\n');
    expect(first.steps.filter(({ state }: { state: string }) => state === 'do')).toEqual([]);
    const second = JSON.parse((await run(['init', '--apply', '--pool-cap', '1GiB', '--json'])).out);
    expect(second).toMatchObject({ changed: [], backup: null });
    expect(readFileSync(join(daemon.etc, 'pool-cap'), 'utf8')).toBe('85899345920\n');
    await run(['config', 'restore', first.backup]);
    expect(existsSync(join(daemon.etc, 'pool-cap'))).toBe(false);
  });

  test('makes the settings directory where there is none', async () => {
    const { daemon, run } = await fresh();
    rmSync(daemon.etc, { recursive: true });
    expect(await run(['init', '--apply'])).toMatchObject({ code: 0 });
    expect(readdirSync(daemon.etc).sort()).toEqual(['backups', 'birth-egress', 'pool-cap', 'private-cap']);
  });

  test.each<[string, FleetSpec, readonly string[], RegExp]>([
    [
      'several ways out',
      { ...FLEET, qubes: { ...FLEET.qubes, 'ai-tor': { ...FLEET.qubes['ai-net-router'] } } },
      [],
      /Choose one/,
    ],
    ['a way out that is not managed', FLEET, ['--egress', 'sys-firewall'], /sys-firewall is not managed/],
    ['an agent of another name', FLEET, ['--agent', 'personal'], /personal may not call the broker yet/],
    ['an agent that is not there', FLEET, ['--agent', 'nobody'], /There is no qube nobody for agents/],
    [
      'no qubes for agents',
      { default_netvm: 'x', qubes: { dom0: { klass: 'AdminVM', state: 'Running' } } },
      [],
      /Agents have no qube yet/,
    ],
  ])('with %s it leaves a step to you, with its command', async (_, fleet, args, said) => {
    const { run } = await fresh(fleet);
    const found = steps((await run(['init', '--json', ...args])).out).filter(({ what }) => said.test(what));
    expect(found).toEqual([{ state: 'you', what: expect.any(String), command: expect.stringMatching(/qmcpctl|qvm-/) }]);
  });

  test('with a size or a name that is none it exits 2, and with an unknown way out 1', async () => {
    const { run } = await fresh();
    expect((await run(['init', '--pool-cap', 'much'])).code).toBe(2);
    expect((await run(['init', '--agent', 'a b'])).code).toBe(2);
    expect((await run(['init', '--egress', 'nobody'])).code).toBe(1);
  });
});

describe('principals', () => {
  const enrolling = async () => {
    const { daemon } = await startDaemon();
    const run = verbsOf(daemon);
    const web = ['principals', 'add', 'web', '--key', KEY, '--source', 'mcp-control', '--ceiling', 'exec'];
    const file = join(daemon.etc, 'principals/web.json');
    return { daemon, run, web, file };
  };

  test('are added with their limits, listed, given a new key, and taken away', async () => {
    const { daemon, run, web, file } = await enrolling();
    expect((await run(['principals', 'list'])).out).toContain('Nobody is enrolled');
    const limits = [
      '--name',
      'ai-web-*',
      '--owned-only',
      '--risk',
      'read',
      '--risk',
      'change',
      '--calls',
      '600',
      '--questions',
      '12',
    ];
    const more = ['--qubes', '4', '--bytes', '20GiB', '--zone', 'Europe/Berlin', '--hours', 'mon-fri 08:00-18:00'];
    expect(await run([...web, ...limits, ...more, '--yes'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^web is enrolled\./),
    });
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
      key: KEY,
      sources: ['mcp-control'],
      ceiling: 'exec',
      names: ['ai-web-*'],
      owned_only: true,
      risks: ['read', 'change'],
      per_hour: { calls: 600, questions: 12 },
      total: { qubes: 4, bytes: 21474836480 },
      changes: { zone: 'Europe/Berlin', hours: ['mon-fri 08:00-18:00'] },
    });
    expect((await run(['principals', 'list'])).out).toMatch(
      /^web +signed +mcp-control +exec +names: ai-web-\*; owned_only/m,
    );
    expect(JSON.parse((await run(['principals', 'list', '--json'])).out)).toMatchObject({
      ...{
        in_use: true,
        complaints: [],
        principals: [{ name: 'web', key: KEY, sources: ['mcp-control'], limits: { ceiling: 'exec' } }],
      },
    });
    // The daemon follows at once: unsigned calls are nobody's now.
    expect(await daemon.call('qmcp.ListAIManagedQubes', '')).toEqual({ ok: false, error: 'not found' });
    expect(await run(['principals', 'rotate', 'web', '--key', OTHER_KEY])).toMatchObject({ code: 0 });
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ key: OTHER_KEY, owned_only: true });
    expect(await run(['principals', 'remove', 'web', '--yes'])).toMatchObject({ code: 0 });
    expect(existsSync(file)).toBe(false);
    expect(await daemon.call('qmcp.ListAIManagedQubes', '')).toMatchObject({ ok: true });
    const [newest] = JSON.parse((await run(['config', 'restore', '--json'])).out);
    expect(newest).toMatchObject({ by: 'principals remove web', files: [file] });
    await run(['config', 'restore', newest.id]);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ key: OTHER_KEY });
  });

  test('that change what unsigned calls are worth are added and removed only after a yes', async () => {
    const { run, web, file } = await enrolling();
    expect(await run(web)).toMatchObject({ code: 1, err: expect.stringContaining('unsigned calls are refused') });
    expect((await run(web, ['n'])).code).toBe(1);
    expect(existsSync(file)).toBe(false);
    expect((await run(web, ['y'])).code).toBe(0);
    expect(await run(['principals', 'remove', 'web'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('without limits'),
    });
    expect((await run(['principals', 'remove', 'web'], ['no'])).code).toBe(1);
    expect(existsSync(file)).toBe(true);
    // One more, and neither changes anything for the unsigned.
    const rest = ['principals', 'add', 'rest', '--unsigned', '--source', 'any', '--ceiling', 'full'];
    expect(await run(rest)).toMatchObject({ code: 0, err: '' });
    expect(await run(['principals', 'remove', 'web'])).toMatchObject({ code: 0 });
  });

  test.each<[string, readonly string[], number, RegExp]>([
    ['a name that is none', ['add', 'Web', '--key', KEY], 2, /a-z, 0-9 and dashes/],
    ['no name', ['add'], 2, /Say which principal/],
    ['no key', ['add', 'x', '--source', 'mcp-control', '--ceiling', 'ro', '-y'], 1, /either a key, or unsigned/],
    [
      'a key that is none',
      ['add', 'x', '--key', 'abc', '--source', 'mcp-control', '--ceiling', 'ro', '-y'],
      1,
      /key: it is not 32 bytes in base64/,
    ],
    ['no ceiling', ['add', 'x', '--key', KEY, '--source', 'mcp-control', '-y'], 1, /ceiling/],
    ['no source', ['add', 'x', '--key', KEY, '--ceiling', 'ro', '-y'], 1, /sources/],
    [
      'hours without a zone',
      ['add', 'x', '--key', KEY, '--source', 'a', '--ceiling', 'ro', '--hours', 'mon 08:00-09:00'],
      2,
      /--hours needs --zone/,
    ],
    [
      'a quota that is no number',
      ['add', 'x', '--key', KEY, '--source', 'a', '--ceiling', 'ro', '--calls', 'many'],
      2,
      /--calls takes a number/,
    ],
    ['a new key for nobody', ['rotate', 'x', '--key', KEY], 1, /Nobody called x/],
    ['no new key', ['rotate', 'x'], 2, /Say --key/],
    ['somebody to remove who is not there', ['remove', 'x'], 1, /Nobody called x/],
  ])('refuse %s, and nothing is written', async (_, args, code, sentence) => {
    const { daemon, run } = await enrolling();
    const ran = await run(['principals', ...args]);
    expect({ code: ran.code, out: ran.out }).toEqual({ code, out: '' });
    expect(ran.err).toMatch(sentence);
    const dir = join(daemon.etc, 'principals');
    expect(existsSync(dir) ? readdirSync(dir) : []).toEqual([]);
  });

  test('are not enrolled twice, nor two of them for the same unsigned calls', async () => {
    const { run, web } = await enrolling();
    await run([...web, '--yes']);
    expect(await run([...web, '--yes'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('principals rotate web'),
    });
    await run(['principals', 'add', 'rest', '--unsigned', '--source', 'mcp-control', '--ceiling', 'ro']);
    const again = ['principals', 'add', 'other', '--unsigned', '--source', 'mcp-control', '--ceiling', 'ro'];
    expect(await run(again)).toMatchObject({ code: 1, err: expect.stringContaining('are those of rest already') });
    expect((await run(['principals', 'rotate', 'rest', '--key', KEY])).err).toContain('makes unsigned calls');
  });

  test('come from a file as it is, and a file that is none is named', async () => {
    const { daemon, run } = await enrolling();
    const file = join(daemon.root, 'mine.json');
    writeFileSync(file, '{"unsigned":true,"sources":"any","ceiling":"net"}');
    expect((await run(['principals', 'add', 'rest', '--file', file])).code).toBe(0);
    expect(readFileSync(join(daemon.etc, 'principals/rest.json'), 'utf8')).toBe(readFileSync(file, 'utf8'));
    mkdirSync(join(daemon.etc, 'principals'), { recursive: true });
    writeFileSync(join(daemon.etc, 'principals/bad.json'), '{');
    expect(await run(['principals', 'list'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('principals/bad.json'),
    });
  });
});

// The verbs that ask the running daemon, as typed: the built program against the built daemon and a simulated qubesd.
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { ASKING, startDaemon } from '../broker/daemon.ts';
import { startApprover } from '../confirm/approver.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { qmcpctlOf, verbsOf } from './stage.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const NOW = Math.floor(Date.now() / 1000);

const asking = async () => {
  const started = await startDaemon({ operatorFiles: ASKING });
  const approver = await startApprover(join(started.daemon.run, 'confirm.sock'));
  started.daemon.operatorFile('confirm.pub', `${approver.publicKey}\n`);
  return { ...started, approver, run: qmcpctlOf(started.daemon) };
};

describe('status', () => {
  test('is a few lines where all is well, and exits 0', async () => {
    const { daemon, run } = await asking();
    const { code, out, err } = await run('status');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out.replace(/for .*\)/, 'for 5 seconds (process 7)')).toBe(
      [
        'Daemon     has run for 5 seconds (process 7)',
        'qubesd     connected',
        'Journal    written',
        'Mode       compat (untiered qubes: full), kernel shadow, no policy of ours',
        '           installed',
        'Questions  none open, 0 waiting',
        'Answers    a dialog listens',
        'Qubes      9 managed, 0 tombstones',
        'Calls      0 held open',
        'Frozen     nobody',
        '',
      ].join('\n'),
    );
    const json = await run('status', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ pid: daemon.process?.pid, qubesd: 'connected', managed: 9 });
  });

  test('exits 1 where something is amiss, and says what', async () => {
    const { daemon } = await startDaemon({ operatorFiles: { 'tier-default': 'maybe\n' } });
    const { code, out } = await qmcpctlOf(daemon)('status');
    expect(code).toBe(1);
    expect(out.replace(/\n {11}/g, ' ')).toMatch(/^Settings +.*tier-default, line 1: 'maybe' is not understood/m);
    for (const line of out.split('\n')) if (!line.includes(daemon.etc)) expect(line.length).toBeLessThanOrEqual(80);
    expect(out).toMatch(/^Answers +none can be yes: there is no key\. See qmcpctl init\.$/m);
  });
});

test('pending shows the lines of the window, and who waits', async () => {
  const { daemon, approver, run } = await asking();
  expect(await run('pending')).toMatchObject({ code: 0, out: 'No question is open.\n' });
  const first = daemon.call(LIFECYCLE, { name: 'ai-idle', action: 'remove' });
  const asked = await approver.next();
  const second = daemon.call(LIFECYCLE, { name: 'ai-work', action: 'kill' });
  const verbs = verbsOf(daemon);
  while (!(await verbs(['pending'])).out.includes('WAITING')) await new Promise((resolve) => setTimeout(resolve, 5));
  const { out } = await run('pending');
  expect(out).toMatch(/^Remove ai-idle \(gray\)\nAsked by: mcp-control[\s\S]*Asked \d+ seconds? ago; counts as no in /);
  expect(out).toMatch(/\nWAITING +PRINCIPAL +ACTION +QUBES\nmcp-control +default +kill +ai-work\n$/);
  expect(JSON.parse((await run('pending', '--json')).out)).toMatchObject({
    open: { action: 'remove' },
    waiting: [{ action: 'kill' }],
  });
  asked.deny();
  (await approver.next()).deny();
  await Promise.all([first, second]);
});

test('freeze and thaw say what is so from then on, and what to type to end it', async () => {
  const { daemon, run } = await asking();
  expect(await run('freeze', 'mcp-control')).toMatchObject({
    ...{ code: 0, err: '', out: 'mcp-control is frozen. To end that: qmcpctl thaw mcp-control\n' },
  });
  expect(await daemon.call('qmcp.GetPoolStats', '')).toEqual({ ok: false, error: 'not found' });
  expect((await run('status')).out).toMatch(/^Frozen +mcp-control$/m);
  expect((await run('freeze', 'mcp-contrl')).err).toContain('There is no qube mcp-contrl just now. Is the name right?');
  expect(await run('thaw', 'mcp-control')).toMatchObject({ code: 0, out: 'mcp-control is answered again.\n' });
  expect((await run('thaw', 'mcp-control', '--json')).out).toBe('{"source":"mcp-control","was_frozen":false}\n');
  for (const args of [['freeze'], ['freeze', 'a', 'b'], ['freeze', '../a'], ['thaw', '--all']]) {
    expect((await verbsOf(daemon)(args)).code, args.join(' ')).toBe(2);
  }
});

describe('explain', () => {
  test('shows verdict, rule, facts, what can be done, and the question', async () => {
    const { run } = await asking();
    const request = '{"name":"ai-full1","action":"remove"}';
    const { code, out } = await run('explain', 'lifecycle', request);
    expect(code).toBe(0);
    expect(out).toBe(`${LIFECYCLE} ${request} from mcp-control, principal default
ASK, by the rule consent-policy: the action is one that is asked.
What you can do: to choose what is asked: qmcpctl config set consent-policy.

ROLE    QUBE      KLASS  STATE   TIER  GUARDED
target  ai-full1  AppVM  Halted  full  no
Settings: tier-default full, enforce-mode shadow, consent-policy built-in

The question:
  Remove ai-full1 (gray)
  Asked by: mcp-control (gray), default agent
  Qube: AppVM, not running
  Its own data: 0 bytes used of 2.0 GiB
  It and all its files are destroyed at once. This cannot be undone.
  First time this agent asks this. Normal: a qube that agents made and are done
  with.
  To allow it, ai-full1 has to be typed.
`);
    expect(JSON.parse((await run('explain', LIFECYCLE, request, '--json')).out)).toMatchObject({
      verdict: 'ask',
      rule: 'consent-policy',
    });
  });

  test('of a refusal says what the caller would get, and what would change that', async () => {
    const { run } = await asking();
    const { out } = await run('explain', 'Lifecycle', '{"name":"vault","action":"start"}', '--source', 'ai-work');
    expect(out).toMatch(/^REFUSE, by the rule outside-umbrella: a qube of the call is not tagged\nai-managed\.$/m);
    expect(out).toContain('What you can do: if agents should have it: qmcpctl tier set vault TIER.');
    expect(out).toContain('The caller would get {"ok":false,"error":"not found"}');
  });

  test.each([
    ['no service', []],
    ['more than a request', ['lifecycle', '{}', '{}']],
    ['a source that is no name', ['lifecycle', '{}', '--source', 'a b']],
  ])('with %s it exits 2', async (_, args) => {
    const { daemon } = await startDaemon();
    expect((await verbsOf(daemon)(['explain', ...args])).code).toBe(2);
  });
});

describe('tier', () => {
  test('shows what each qube grants, and sets several at once', async () => {
    const { run } = await asking();
    const { out } = await run('tier', 'show');
    expect(out).toMatch(/^ai-idle +AppVM +ro +full \(mode compat\) +read exec net full$/m);
    expect(out).toMatch(/^ai-exec1 +AppVM +exec +exec +read exec$/m);
    expect(out).not.toContain('vault');
    expect((await run('tier', 'show', '--all')).out).toMatch(/^vault +AppVM +none +none +nothing$/m);
    expect(await run('tier', 'set', 'vault', 'ai-idle', 'exec')).toMatchObject({
      ...{ code: 0, out: 'vault has the tier exec (+ai-exec +ai-managed).\nai-idle has the tier exec (+ai-exec).\n' },
    });
    expect((await run('tier', 'set', 'vault', 'exec')).out).toBe('vault already had the tier exec.\n');
    expect(JSON.parse((await run('tier', 'set', 'vault', 'none', '--json')).out)).toMatchObject([
      { name: 'vault', tier: 'none' },
    ]);
    expect(JSON.parse((await run('tier', 'show', 'vault', '--json')).out)).toMatchObject([
      { tier: 'none', effective: null, tags: [] },
    ]);
  });

  test('goes on with the others where one cannot be set, and exits 1', async () => {
    const { run } = await asking();
    const { code, out, err } = await run('tier', 'set', 'nobody', 'vault', 'dom0', 'exec');
    expect({ code, out, err }).toEqual({
      code: 1,
      out: 'vault has the tier exec (+ai-exec +ai-managed).\n',
      err: 'There is no qube nobody.\ndom0 is never managed.\n',
    });
    expect(await run('tier', 'show', 'nobody')).toMatchObject({ code: 1, err: 'There is no qube nobody.\n' });
    expect(await run('tier', 'set', 'vault', 'ro')).toMatchObject({ code: 1, err: expect.stringContaining('--force') });
    for (const args of [['vault', 'root'], ['exec'], [], ['a b', 'exec']]) {
      expect((await run('tier', 'set', ...args)).code, args.join(' ')).toBe(2);
    }
  });
});

describe('tombstones', () => {
  const FLEET: FleetSpec = {
    ...FLEET_F0,
    qubes: {
      ...FLEET_F0.qubes,
      'ai-fresh': { klass: 'AppVM', tags: [`qmcp-tombstone_${NOW - 7_300}`] },
      'ai-old': { klass: 'AppVM', tags: [`qmcp-tombstone_${NOW - 90_000}`] },
    },
  };

  test('are listed, restored, and destroyed once their name was typed', async () => {
    const { daemon, qubesd } = await startDaemon({ fleet: FLEET });
    const run = qmcpctlOf(daemon);
    const person = verbsOf(daemon);
    expect((await run('tombstones', 'list')).out).toMatch(
      /^QUBE +REMOVED +DESTROYED +REAPER\nai-fresh +2 hours ago +in 21 hours +waits\nai-old +25 hours ago +now +destroys it at its next pass\n$/,
    );
    expect(JSON.parse((await run('tombstones', 'list', '--json')).out).tombstones).toHaveLength(2);
    expect(await person(['tombstones', 'reap', 'ai-fresh'], ['ai-old'])).toMatchObject({
      code: 1,
      err: 'Nothing was destroyed.\n',
    });
    expect(await run('tombstones', 'reap', 'ai-fresh')).toMatchObject({
      code: 1,
      err: expect.stringContaining('--yes'),
    });
    expect(qubesd.changes()).toEqual([]);
    expect(await run('tombstones', 'restore', 'ai-fresh', '--tier', 'net')).toMatchObject({
      out: 'ai-fresh is back with the tier net.\n',
    });
    expect((await person(['tombstones', 'reap', 'ai-old'], ['ai-old'])).out).toBe('Destroyed: ai-old\n');
    expect((await run('tombstones', 'reap')).out).toBe('Nothing was destroyed.\n');
    expect((await run('tombstones', 'list')).out).toBe('There are no tombstones.\n');
  });

  test('that come back untiered in mode compat grant everything, which is said', async () => {
    const { daemon } = await startDaemon({ fleet: FLEET });
    const run = qmcpctlOf(daemon);
    expect((await run('tombstones', 'restore', 'ai-fresh')).out).toBe(
      'ai-fresh is back with the tier ro, which in mode compat grants full.\n',
    );
    expect((await run('tombstones', 'restore', 'ai-fresh', '--tier', 'root')).code).toBe(2);
  });
});

test('version tells both versions, and without a daemon says so and is no failure', async () => {
  const { daemon } = await startDaemon();
  const run = qmcpctlOf(daemon);
  expect((await run('version')).out).toMatch(
    new RegExp(`^qmcpctl +${packageJson.version}\nDaemon +${packageJson.version}\n`),
  );
  expect((await run('--version')).out).toContain(`qmcpctl  ${packageJson.version}\n`);
  await daemon.end();
  const { code, out } = await run('version', '--json');
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    daemon: null,
    sentence: expect.stringContaining('The daemon is not running'),
  });
});

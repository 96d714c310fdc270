// The operator's verbs against the built daemon, over its real control socket.
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Explanation, Pending, Reaped, Status, Tagged, Tombstones } from '../../daemon/control/answers.ts';
import { ASKING, type Daemon, QUIET, startDaemon } from '../broker/daemon.ts';
import { startApprover } from '../confirm/approver.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { ask, refusal, result } from './ask.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const REFUSED = { ok: false, error: 'not found' };
const AGENT = 'mcp-control';

const at = (daemon: Daemon): string => join(daemon.run, 'control.sock');
const operatorRecords = (daemon: Daemon): unknown[] => daemon.journal().filter(({ type }) => type === 'operator');

/** Resolves when the condition holds; the test's own time is the limit. */
const until = async (holds: () => Promise<boolean>): Promise<void> => {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
};

describe('status', () => {
  test('says how everything is', async () => {
    const { daemon } = await startDaemon();
    const status = await result<Status>(at(daemon), 'status');
    expect(status).toMatchObject({
      pid: daemon.process?.pid,
      qubesd: 'connected',
      journal: { ok: true, sentence: null },
      mode: { tier_default: 'full', policy: 'absent', enforce: 'shadow' },
      dialog: { key: false, listens: false },
      complaints: [],
      calls: 0,
      questions: { open: 0, waiting: 0 },
      frozen: [],
      all_frozen: null,
      resting: [],
      managed: 9,
      tombstones: 0,
    });
  });

  test('answers without qubesd, and says that it is away', async () => {
    const { daemon, qubesd } = await startDaemon();
    await qubesd.stop();
    await until(async () => (await result<Status>(at(daemon), 'status')).qubesd === 'away');
    expect(await result<Status>(at(daemon), 'status')).toMatchObject({ managed: null, tombstones: null });
  });

  test('names what is wrong with the operator files, by file and line', async () => {
    const { daemon } = await startDaemon({ operatorFiles: { ...QUIET, 'tier-default': '# a\nmaybe\n' } });
    const { complaints } = await result<Status>(at(daemon), 'status');
    expect(complaints).toEqual([expect.stringContaining('/tier-default, line 2: ')]);
  });
});

describe('pending', () => {
  test('shows the open question and who waits, without any nonce', async () => {
    const { daemon } = await startDaemon({ operatorFiles: ASKING });
    const approver = await startApprover(join(daemon.run, 'confirm.sock'));
    daemon.operatorFile('confirm.pub', `${approver.publicKey}\n`);
    expect(await result(at(daemon), 'pending')).toEqual({ open: null, waiting: [] });
    const first = daemon.call(LIFECYCLE, { name: 'ai-idle', action: 'remove' });
    const asked = await approver.next();
    const second = daemon.call(LIFECYCLE, { name: 'ai-work', action: 'kill' });
    await until(async () => (await result<Pending>(at(daemon), 'pending')).waiting.length === 1);
    const pending = await result<Pending>(at(daemon), 'pending');
    expect(pending).toMatchObject({
      open: {
        ...{ source: AGENT, principal: 'default', service: LIFECYCLE, action: 'remove', names: ['ai-idle'] },
        lines: expect.arrayContaining(['Remove ai-idle (gray)']),
      },
      waiting: [{ source: AGENT, principal: 'default', service: LIFECYCLE, action: 'kill', names: ['ai-work'] }],
    });
    expect(pending.open?.expires_s).toBeGreaterThan(0);
    expect(JSON.stringify(pending)).not.toContain(asked.question.nonce);
    expect(JSON.stringify(pending)).not.toContain(asked.question.digest);
    asked.deny();
    (await approver.next()).deny();
    await Promise.all([first, second]);
    await until(async () => (await result<Pending>(at(daemon), 'pending')).open === null);
  });
});

describe('freeze and thaw', () => {
  test('a frozen source gets nothing at all until it is thawed, and the journal has both', async () => {
    const { daemon } = await startDaemon();
    expect(await result(at(daemon), 'freeze', { source: AGENT })).toEqual({
      ...{ source: AGENT, already: false, lasts: true, exists: true },
    });
    expect(await daemon.call('qmcp.ListAIManagedQubes', '')).toEqual(REFUSED);
    expect((await result<Status>(at(daemon), 'status')).frozen).toEqual([AGENT]);
    expect(await result(at(daemon), 'freeze', { source: AGENT })).toMatchObject({ already: true });
    expect(await result(at(daemon), 'freeze', { source: 'mcp-contrl' })).toMatchObject({ exists: false });
    await daemon.end();
    await daemon.start();
    expect(await daemon.call('qmcp.ListAIManagedQubes', '')).toEqual(REFUSED);
    expect(await result(at(daemon), 'thaw', { source: AGENT })).toEqual({ source: AGENT, was_frozen: true });
    expect(await result(at(daemon), 'thaw', { source: AGENT })).toEqual({ source: AGENT, was_frozen: false });
    expect(await daemon.call('qmcp.ListAIManagedQubes', '')).toMatchObject({ ok: true });
    await daemon.end();
    expect(operatorRecords(daemon)).toMatchObject([
      { verb: 'freeze', args: { source: AGENT, by: 'qmcpctl' } },
      { verb: 'freeze', args: { source: AGENT, by: 'qmcpctl' } },
      { verb: 'freeze', args: { source: 'mcp-contrl', by: 'qmcpctl' } },
      { verb: 'thaw', args: { source: AGENT, by: 'qmcpctl' } },
    ]);
  });

  test('the open question of a source that is frozen goes away, and a yes to it would do nothing', async () => {
    const { daemon, qubesd } = await startDaemon({ operatorFiles: ASKING });
    const approver = await startApprover(join(daemon.run, 'confirm.sock'));
    daemon.operatorFile('confirm.pub', `${approver.publicKey}\n`);
    const reply = daemon.call(LIFECYCLE, { name: 'ai-idle', action: 'remove' });
    const asked = await approver.next();
    await result(at(daemon), 'freeze', { source: AGENT });
    await asked.gone;
    expect(await reply).toEqual(REFUSED);
    expect(qubesd.changes()).toEqual([]);
  });

  test('with a file of frozen sources that cannot be used, thaw says what to do instead', async () => {
    const { daemon } = await startDaemon();
    await daemon.end();
    writeFileSync(join(daemon.state, 'frozen'), 'no name!\n');
    await daemon.start();
    expect(await refusal(at(daemon), 'thaw', { source: AGENT })).toMatch(/Mend or remove it, then restart\.$/);
  });
});

describe('explain', () => {
  const explain = (daemon: Daemon, service: string, body: unknown, more: object = {}): Promise<Explanation> =>
    result(at(daemon), 'explain', {
      ...{ service, body: typeof body === 'string' ? body : JSON.stringify(body), source: AGENT, principal: null },
      ...more,
    });

  test('tells the rule, the facts and the very question, and neither asks nor journals nor changes anything', async () => {
    const { daemon, qubesd } = await startDaemon({ operatorFiles: ASKING });
    const approver = await startApprover(join(daemon.run, 'confirm.sock'));
    daemon.operatorFile('confirm.pub', `${approver.publicKey}\n`);
    const before = daemon.journal().length;
    const explained = await explain(daemon, LIFECYCLE, { name: 'ai-full1', action: 'remove' });
    expect(explained).toMatchObject({
      ...{ verdict: 'ask', rule: 'consent-policy', action: 'remove', principal: 'default', decided_by: 'broker' },
      qubes: [{ role: 'target', name: 'ai-full1', klass: 'AppVM', state: 'Halted', tier: 'full', guarded: false }],
      settings: { tier_default: 'full', enforce_mode: 'shadow', consent_policy: 'built-in' },
      unasked: null,
      reply: null,
    });
    expect(explained.qubes[0]?.tags).toContain('ai-full');
    expect(qubesd.changes()).toEqual([]);
    expect(approver.questions).toEqual([]);
    // That the key of the approver is new is a change of settings, which is journalled when it is seen; the start may be late.
    expect(
      daemon
        .journal()
        .slice(before)
        .filter(({ type }) => type !== 'settings' && type !== 'start'),
    ).toEqual([]);

    const reply = daemon.call(LIFECYCLE, { name: 'ai-full1', action: 'remove' });
    const asked = await approver.next();
    expect(explained.question?.lines).toEqual(asked.question.view.lines);
    expect(explained.question?.type_to_confirm).toBe('ai-full1');
    asked.deny();
    await reply;
  });

  test('agrees with the reply of the call, whatever the reason', async () => {
    const { daemon } = await startDaemon({
      operatorFiles: { ...QUIET, 'tier-default': 'ro\n', guarded: 'ai-full1\n' },
    });
    const rows: [string, unknown, string, string][] = [
      [LIFECYCLE, { name: 'vault', action: 'start' }, 'refuse', 'outside-umbrella'],
      [LIFECYCLE, { name: 'nobody', action: 'start' }, 'refuse', 'missing'],
      [LIFECYCLE, { name: 'ai-idle', action: 'start' }, 'refuse', 'insufficient:full'],
      [LIFECYCLE, { name: 'ai-full1', action: 'dance' }, 'refuse', 'argument'],
      [LIFECYCLE, 'not json', 'refuse', 'argument'],
      [LIFECYCLE, { name: 'ai-full1', action: 'start' }, 'ask', 'guarded'],
      ['qmcp.GetPropertyAIManaged', { name: 'ai-idle', property: 'label' }, 'allow', 'ladder'],
      ['qmcp.GetPropertyAIManaged', { name: 'vault', property: 'label' }, 'refuse', 'outside-umbrella'],
      ['qmcp.ListAIManagedQubes', '', 'allow', 'ladder'],
      ['qmcp.NoSuchThing', {}, 'refuse', 'unknown-service'],
    ];
    for (const [service, body, verdict, rule] of rows) {
      const explained = await explain(daemon, service, body);
      expect([service, body, explained.verdict, explained.rule]).toEqual([service, body, verdict, rule]);
      const reply = await daemon.call(service, body);
      expect(reply.ok).toBe(verdict === 'allow');
      if (explained.reply && service === LIFECYCLE) expect(explained.reply).toEqual(reply);
    }
    // Nobody can answer: there is no key.
    expect((await explain(daemon, LIFECYCLE, { name: 'ai-full1', action: 'start' })).unasked).toBe('no-key');
    await result(at(daemon), 'freeze', { source: AGENT });
    expect(await explain(daemon, LIFECYCLE, { name: 'ai-full1', action: 'start' })).toMatchObject({ rule: 'frozen' });
    expect(await explain(daemon, 'qmcp.GetPoolStats', '')).toMatchObject({ verdict: 'refuse', rule: 'frozen' });
  });

  test('says of an obstacle that nobody would be asked, and which reply there would be', async () => {
    const { daemon } = await startDaemon({ operatorFiles: ASKING });
    expect(await explain(daemon, LIFECYCLE, { name: 'ai-work', action: 'remove' })).toMatchObject({
      ...{ verdict: 'ask', unasked: 'obstacle', reply: { ok: false, error: 'action failed' } },
    });
  });

  test('tells what the tiers say of a service that the qrexec policy decides', async () => {
    const { daemon } = await startDaemon({ operatorFiles: { ...QUIET, 'tier-default': 'ro\n' } });
    expect(await explain(daemon, 'admin.vm.firewall.Set', { target: 'ai-exec1' })).toMatchObject({
      ...{ verdict: 'refuse', rule: 'insufficient:net', decided_by: 'policy' },
    });
  });

  test('takes a principal, as one that would have signed', async () => {
    const { daemon } = await startDaemon();
    const start = { name: 'ai-idle', action: 'start' };
    expect(await explain(daemon, LIFECYCLE, start, { principal: 'claude' })).toMatchObject({
      ...{ verdict: 'refuse', rule: 'principal-unknown' },
    });
  });

  test('declines a plan, and says so when qubesd is away', async () => {
    const { daemon, qubesd } = await startDaemon();
    const args = { service: 'qmcp.Prepare', body: '{}', source: AGENT, principal: null };
    expect(await refusal(at(daemon), 'explain', args)).toContain('one at a time');
    await qubesd.stop();
    const body = JSON.stringify({ name: 'ai-idle', action: 'start' });
    expect(await refusal(at(daemon), 'explain', { ...args, service: LIFECYCLE, body })).toContain(
      'qubesd cannot be asked',
    );
  });
});

describe('tier', () => {
  const tagsOf = (qubesd: { world: { qube(name: string): { tags: ReadonlySet<string> } } }, name: string): string[] =>
    [...qubesd.world.qube(name).tags].filter((tag) => /^ai-|^qmcp-/.test(tag)).sort();

  test('puts a qube on a tier and takes it out of reach, each written down before and after', async () => {
    const { daemon, qubesd } = await startDaemon();
    expect(await result<Tagged>(at(daemon), 'tier', { name: 'vault', tier: 'exec', force: false })).toMatchObject({
      ...{ name: 'vault', tier: 'exec', effective: 'exec', added: ['ai-exec', 'ai-managed'], removed: [] },
    });
    expect(tagsOf(qubesd, 'vault')).toEqual(['ai-exec', 'ai-managed']);
    expect(await result<Tagged>(at(daemon), 'tier', { name: 'vault', tier: 'none', force: false })).toMatchObject({
      ...{ tier: 'none', effective: null, removed: ['ai-managed', 'ai-exec'] },
    });
    expect(tagsOf(qubesd, 'vault')).toEqual([]);
    await daemon.end();
    const ours = daemon.journal().filter(({ service }) => service === 'qmcpctl');
    expect(ours.map(({ type, action, ok }) => [type, action, ok])).toEqual([
      ['intent', 'set-tier', undefined],
      ['outcome', 'set-tier', true],
      ['intent', 'set-tier', undefined],
      ['outcome', 'set-tier', true],
    ]);
    expect(ours[0]).toMatchObject({ source: 'dom0', principal: 'operator', args: { name: 'vault', tier: 'exec' } });
  });

  test('refuses what would grant more than it says, dom0, a tombstone, and what is not there', async () => {
    const fleet: FleetSpec = {
      ...FLEET_F0,
      qubes: { ...FLEET_F0.qubes, gone: { klass: 'AppVM', tags: ['qmcp-tombstone_1700000000'] } },
    };
    const { daemon, qubesd } = await startDaemon({ fleet });
    const set = (name: string, tier: string) => refusal(at(daemon), 'tier', { name, tier, force: false });
    expect(await set('vault', 'ro')).toContain('qmcpctl mode least-privilege');
    expect(await set('dom0', 'exec')).toBe('dom0 is never managed.');
    expect(await set('gone', 'exec')).toContain('qmcpctl tombstones restore gone');
    expect(await set('nobody', 'exec')).toBe('There is no qube nobody.');
    expect(qubesd.changes()).toEqual([]);
    expect(await result<Tagged>(at(daemon), 'tier', { name: 'vault', tier: 'ro', force: true })).toMatchObject({
      ...{ tier: 'ro', effective: 'full' },
    });
  });

  test('a tag that does not stay is said, and nothing counts as done', async () => {
    const { daemon } = await startDaemon({ fleet: { ...FLEET_F0, hooks: { drop_tag: ['ai-managed'] } } });
    const sentence = await refusal(at(daemon), 'tier', { name: 'vault', tier: 'exec', force: false });
    expect(sentence).toContain('does not show them');
    await daemon.end();
    expect(daemon.journal().find(({ type }) => type === 'outcome')).toMatchObject({ ok: false, error: 'not done' });
  });
});

describe('quarantine', () => {
  const leftover = { name: 'ai-new', template: 'ai-debian-13' };
  const start = { name: 'ai-new', action: 'start' };
  const fleet: FleetSpec = {
    ...FLEET_F0,
    hooks: { netvm_ignored: 1 },
    fail: { 'admin.vm.Remove@ai-new': ['QubesVMInUseError', 'x'] },
  };
  const leaving = async () => {
    const started = await startDaemon({ fleet });
    expect(await started.daemon.call('qmcp.SpawnAIManagedQube', leftover)).toMatchObject({
      ok: false,
      error: expect.stringMatching(/rollback failed; manual cleanup of qube 'ai-new' required in dom0$/),
    });
    return started;
  };

  test('what a spawn left is told, no agent has it, and that outlasts a restart, until it is gone', async () => {
    const { daemon, qubesd } = await leaving();
    const { uuid, tags } = qubesd.world.qube('ai-new');
    expect(tags.has('ai-managed')).toBe(true);
    for (let lives = 0; lives < 2; lives++) {
      const { quarantine, quarantine_complaint } = await result<Status>(at(daemon), 'status');
      expect([quarantine, quarantine_complaint]).toEqual([[{ name: 'ai-new', uuid, since: expect.any(String) }], null]);
      expect(await daemon.call(LIFECYCLE, start)).toEqual(REFUSED);
      const explained = await result<Explanation>(at(daemon), 'explain', {
        ...{ service: LIFECYCLE, body: JSON.stringify(start), source: AGENT, principal: null },
      });
      expect(explained).toMatchObject({ verdict: 'refuse', rule: 'quarantine', reply: REFUSED });
      // It has the umbrella when the reply is given (contract vector S72), and after that only until somebody looks: the next start.
      expect(explained.qubes[0]?.tags?.includes('ai-managed')).toBe(lives === 0);
      await daemon.end('SIGKILL');
      await daemon.start();
    }
    qubesd.world.remove('ai-new');
    expect((await result<Status>(at(daemon), 'status')).quarantine).toEqual([]);
  });

  test('a tier that agents can use ends it, and the journal has who said so; no other tier does', async () => {
    const { daemon, qubesd } = await leaving();
    const tier = (word: string) => result<Tagged>(at(daemon), 'tier', { name: 'ai-new', tier: word, force: false });
    expect(await tier('none')).toMatchObject({ released: false });
    expect(await daemon.call(LIFECYCLE, start)).toEqual(REFUSED);
    expect(await tier('full')).toMatchObject({ released: true });
    expect(await daemon.call(LIFECYCLE, start)).toEqual({ ok: true });
    expect((await result<Status>(at(daemon), 'status')).quarantine).toEqual([]);
    expect(await tier('full')).toMatchObject({ released: false });
    await daemon.end();
    const args = { name: 'ai-new', uuid: qubesd.world.qube('ai-new').uuid, by: 'qmcpctl' };
    expect(operatorRecords(daemon)).toEqual([expect.objectContaining({ verb: 'release', args })]);
  });

  test('a file that cannot be used keeps every qube from agents, and status says what to do', async () => {
    const { daemon } = await startDaemon();
    await daemon.end();
    writeFileSync(join(daemon.state, 'quarantine'), '?\n');
    await daemon.start();
    expect(await daemon.call(LIFECYCLE, { name: 'ai-idle', action: 'start' })).toEqual(REFUSED);
    expect(await daemon.call('qmcp.ListAIManagedQubes', '')).toEqual({ ok: true, qubes: [] });
    expect((await result<Status>(at(daemon), 'status')).quarantine_complaint).toMatch(
      /Mend or remove it, then restart/,
    );
  });
});

describe('tombstones', () => {
  const now = Math.floor(Date.now() / 1000);
  const TOMBSTONES: FleetSpec = {
    ...FLEET_F0,
    qubes: {
      ...FLEET_F0.qubes,
      'ai-fresh': { klass: 'AppVM', tags: [`qmcp-tombstone_${now - 60}`, 'qmcp-guarded', 'mine'] },
      'ai-old': { klass: 'AppVM', tags: [`qmcp-tombstone_${now - 90_000}`] },
      'ai-odd': { klass: 'AppVM', tags: ['qmcp-tombstone_soon'] },
      'ai-busy': { klass: 'AppVM', state: 'Running', tags: [`qmcp-tombstone_${now - 90_000}`] },
    },
  };

  test('are listed with their age and what the reaper will do', async () => {
    const { daemon } = await startDaemon({ fleet: TOMBSTONES });
    const { retention_s, tombstones } = await result<Tombstones>(at(daemon), 'tombstones');
    expect(retention_s).toBe(86_400);
    expect(tombstones.map(({ name, verdict, restrictions }) => [name, verdict, restrictions])).toEqual([
      ['ai-busy', 'running', []],
      ['ai-fresh', 'within-window', ['qmcp-guarded']],
      ['ai-odd', 'undatable', []],
      ['ai-old', 'due', []],
    ]);
    const fresh = tombstones.find(({ name }) => name === 'ai-fresh');
    expect((fresh?.age_s ?? 0) + (fresh?.due_s ?? 0)).toBeGreaterThanOrEqual(86_400);
  });

  test('come back on the tier that is named, with their restrictions and without their marker', async () => {
    const { daemon, qubesd } = await startDaemon({ fleet: TOMBSTONES });
    const answer = await result<Tagged>(at(daemon), 'restore', { name: 'ai-fresh', tier: 'exec' });
    expect(answer).toMatchObject({ name: 'ai-fresh', tier: 'exec', effective: 'exec' });
    expect([...qubesd.world.qube('ai-fresh').tags].sort()).toEqual(['ai-exec', 'ai-managed', 'mine', 'qmcp-guarded']);
    expect(await daemon.call('qmcp.GetPropertyAIManaged', { name: 'ai-fresh', property: 'klass' })).toMatchObject({
      ok: true,
    });
    expect(await refusal(at(daemon), 'restore', { name: 'ai-fresh', tier: 'exec' })).toContain('is not a tombstone');
    // The marker goes last: whatever stops it before that, the reaper finds no tombstone that it may destroy.
    expect(qubesd.changes().map(([method]) => method?.replace(/_[0-9]+$/, ''))).toEqual([
      'admin.vm.tag.Set+ai-exec',
      'admin.vm.tag.Set+ai-managed',
      'admin.vm.tag.Remove+qmcp-tombstone',
    ]);
  });

  test('that cannot be given the umbrella keep their marker', async () => {
    const { daemon, qubesd } = await startDaemon({ fleet: { ...TOMBSTONES, hooks: { drop_tag: ['ai-managed'] } } });
    expect(await refusal(at(daemon), 'restore', { name: 'ai-fresh', tier: 'ro' })).toContain('does not show them');
    expect([...qubesd.world.qube('ai-fresh').tags].some((tag) => tag.startsWith('qmcp-tombstone_'))).toBe(true);
  });

  test('whose time is over are destroyed on demand, and one by name before its time', async () => {
    const { daemon, qubesd } = await startDaemon({ fleet: TOMBSTONES });
    expect(await result<Reaped>(at(daemon), 'reap', { name: null })).toEqual({
      destroyed: ['ai-old'],
      left: [
        { name: 'ai-busy', verdict: 'running' },
        { name: 'ai-fresh', verdict: 'within-window' },
        { name: 'ai-odd', verdict: 'undatable' },
      ],
    });
    expect(await refusal(at(daemon), 'reap', { name: 'ai-work' })).toContain('is not a tombstone');
    expect(await refusal(at(daemon), 'reap', { name: 'ai-busy' })).toContain('qvm-shutdown ai-busy');
    expect(await result<Reaped>(at(daemon), 'reap', { name: 'ai-fresh' })).toEqual({
      destroyed: ['ai-fresh'],
      left: [],
    });
    expect(qubesd.changes()).toEqual([
      ['admin.vm.Remove', 'ai-old'],
      ['admin.vm.Remove', 'ai-fresh'],
    ]);
  });
});

test('that files were written is journalled, and they are read at once', async () => {
  const { daemon } = await startDaemon();
  daemon.operatorFile('tier-default', 'maybe\n');
  const { complaints } = await result<{ complaints: string[] }>(at(daemon), 'noted', {
    by: 'mode',
    files: ['tier-default'],
  });
  expect(complaints).toEqual([expect.stringContaining('tier-default, line 1')]);
  await daemon.end();
  expect(operatorRecords(daemon)).toMatchObject([{ verb: 'mode', args: { files: 'tier-default' } }]);
});

test.each([
  ['a verb that there is not', 'approve', { nonce: '0' }],
  ['arguments of another shape', 'freeze', { source: '../x' }],
  ['arguments too many', 'freeze', { source: AGENT, all: true }],
])('%s is declined', async (_, verb, args) => {
  const { daemon } = await startDaemon();
  expect(await ask(at(daemon), verb, args)).toMatchObject({ ok: false, error: expect.stringMatching(/^The daemon /) });
});

test('the socket is open to the group and to nobody else, and goes on after a daemon that was killed', async () => {
  const { daemon } = await startDaemon();
  expect((statSync(at(daemon)).mode & 0o777).toString(8)).toBe('660');
  await daemon.end('SIGKILL');
  await daemon.start();
  expect(await ask(at(daemon), 'hello')).toMatchObject({ ok: true });
});

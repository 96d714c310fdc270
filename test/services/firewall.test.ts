import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEADLINES } from '../../daemon/qubesadmin/client.ts';
import { ASKING } from '../broker/daemon.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import { type Approver, startApprover } from '../confirm/approver.ts';

const GET = 'qmcp.GetFirewallAIManaged';
const SET = 'qmcp.SetFirewallAIManaged';
const REFUSED = { ok: false, error: 'not found' };
const SHAPE = { ok: false, error: 'rules must be a list of 1 to 64 firewall rules' };
const ONLY_WEB = ['action=accept dsthost=example.com proto=tcp dstports=443-443', 'action=drop'];
const calls = [
  ['admin.vm.firewall.Set', 'ai-net1', `${ONLY_WEB.join('\n')}\n`],
  ['admin.vm.firewall.Reload', 'ai-net1'],
];

const asking = async (): Promise<{ broker: InProcess; approver: Approver }> => {
  const broker = await temporaryBroker({ operatorFiles: ASKING });
  const approver = await startApprover(join(broker.run, 'confirm.sock'));
  writeFileSync(join(broker.etc, 'confirm.pub'), `${approver.publicKey}\n`);
  return { broker, approver };
};

test('the rules of a managed qube are read without their comments', async () => {
  const broker = await temporaryBroker();
  broker.world.setFirewall('ai-work', 'action=drop proto=udp comment=see vault\naction=accept\n');
  expect(await broker.call(GET, { name: 'ai-work' })).toEqual({
    ok: true,
    rules: ['action=drop proto=udp', 'action=accept'],
  });
});

test.each([
  ['missing', { name: 'ghost' }],
  ['out of scope', { name: 'vault' }],
  ['no name', {}],
  ['a name of another type', { name: ['ai-work'] }],
])('the rules of a qube that is %s are not found', async (_, request) => {
  const broker = await temporaryBroker();
  expect(await broker.call(GET, request)).toEqual(REFUSED);
  expect(await broker.call(SET, { ...request, rules: ONLY_WEB })).toEqual(REFUSED);
  expect(broker.qubesd.changes()).toEqual([]);
});

test('rules are set, put to work and read back after a yes to their difference', async () => {
  const { broker, approver } = await asking();
  broker.world.setFirewall('ai-net1', 'action=accept\n');
  const reply = broker.call(SET, { name: 'ai-net1', rules: ONLY_WEB });
  const asked = await approver.next();
  expect(asked.question.view).toMatchObject({
    risk: 'destroy',
    type_to_confirm: 'ai-net1',
    lines: [
      'Change the firewall of ai-net1 (gray)',
      'Asked by: mcp-control (gray), default agent',
      'Rule taken away: Allow all traffic',
      'New rule: Allow tcp to example.com, port 443',
      'New rule: Block all traffic',
      'Rules that stay as they are: 0',
      'Afterwards only what the rules name gets out.',
      'The first rule that matches decides. What no rule allows is blocked.',
    ],
  });
  asked.approve();
  expect(await reply).toEqual({ ok: true, rules: ONLY_WEB });
  expect(broker.qubesd.changes()).toEqual(calls);
});

test('a question says in words when everything is opened', async () => {
  const { broker, approver } = await asking();
  broker.world.setFirewall('ai-net1', 'action=drop\n');
  const reply = broker.call(SET, { name: 'ai-net1', rules: ['action=accept'] });
  const asked = await approver.next();
  expect(asked.question.view.lines).toContain(
    'This allows all traffic that no earlier rule blocks, which it did not before.',
  );
  asked.deny();
  expect(await reply).toEqual(REFUSED);
});

test('rules that change while the question is open void it', async () => {
  const { broker, approver } = await asking();
  const reply = broker.call(SET, { name: 'ai-net1', rules: ONLY_WEB });
  const asked = await approver.next();
  broker.world.silently(() => broker.world.setFirewall('ai-net1', 'action=drop\n'));
  asked.approve();
  expect(await reply).toEqual(REFUSED);
  expect(broker.qubesd.changes()).toEqual([]);
});

test('net is enough for it and exec is not', async () => {
  const broker = await temporaryBroker();
  expect(await broker.call(SET, { name: 'ai-net1', rules: ONLY_WEB })).toEqual({ ok: true, rules: ONLY_WEB });
  expect(await broker.call(SET, { name: 'ai-exec1', rules: ONLY_WEB })).toEqual(REFUSED);
});

describe('rules of the wrong shape are refused without a look at the qube:', () => {
  test.each([
    ['none', {}],
    ['an empty list', { rules: [] }],
    ['65 of them', { rules: Array(65).fill('action=accept') }],
    ['a text', { rules: 'action=accept' }],
    ['a number among them', { rules: ['action=accept', 5] }],
    ['one that does not parse', { rules: ['action=accept', 'action=bogus'] }],
  ])('%s', async (_, request) => {
    const broker = await temporaryBroker();
    broker.qubesd.reset();
    expect(await broker.call(SET, { name: 'ai-net1', ...request })).toEqual(SHAPE);
    expect(broker.qubesd.calls).toEqual([]);
  });

  test('64 are a list', async () => {
    const broker = await temporaryBroker();
    expect(await broker.call(SET, { name: 'ai-net1', rules: Array(64).fill('action=accept') })).toMatchObject({
      ok: true,
    });
  });
});

test('a difference that nobody would read is not asked', async () => {
  const { broker, approver } = await asking();
  const rules = Array.from({ length: 41 }, (_, index) => `action=accept dst4=10.0.0.${index}`);
  expect(await broker.call(SET, { name: 'ai-net1', rules })).toEqual({ ok: false, error: 'firewall change failed' });
  expect(approver.questions).toEqual([]);
});

test.each([
  ['admin.vm.firewall.Set', 0],
  ['admin.vm.firewall.Reload', 0],
  ['admin.vm.firewall.Get', 1],
])('when %s fails the old rules stand again, and the reply says so', async (method, skip) => {
  const broker = await temporaryBroker();
  broker.world.setFirewall('ai-net1', 'action=drop\n');
  broker.qubesd.faults.inject({ method, skip, fault: { exception: ['QubesException', 'vault'] } });
  expect(await broker.call(SET, { name: 'ai-net1', rules: ONLY_WEB })).toEqual({
    ok: false,
    error: 'firewall change failed (rolled back)',
  });
  expect(broker.world.qube('ai-net1').firewall).toBe('action=drop\n');
});

test('when the old rules cannot be put back either, the reply says that', async () => {
  const broker = await temporaryBroker();
  broker.qubesd.faults.inject({ method: 'admin.vm.firewall.Reload', times: 9, fault: 'empty' });
  expect(await broker.call(SET, { name: 'ai-net1', rules: ONLY_WEB })).toEqual({
    ok: false,
    error: 'firewall change failed AND rollback failed; manual check required in dom0',
  });
});

test('a plan may change the firewall of a qube that it creates', async () => {
  const broker = await temporaryBroker();
  const prepared = await broker.call('qmcp.Prepare', {
    calls: [
      { service: 'qmcp.SpawnAIManagedQube', request: { name: 'ai-lab', template: 'ai-debian-13' } },
      { service: SET, request: { name: 'ai-lab', rules: ONLY_WEB } },
    ],
  });
  expect(prepared).toMatchObject({ ok: true });
  const { nonce } = prepared as unknown as { nonce: string };
  expect(await broker.call('qmcp.Commit', {}, undefined, nonce)).toMatchObject({ state: 'done' });
  expect(broker.world.qube('ai-lab').firewall).toBe(`${ONLY_WEB.join('\n')}\n`);
});

test('nothing is said to be rolled back that may yet happen', async () => {
  const broker = await temporaryBroker({ deadlines: { ...DEADLINES, usual: 300 } });
  broker.qubesd.faults.inject({ method: 'admin.vm.firewall.Set', fault: 'hang' });
  const left = 'firewall change failed AND rollback failed; manual check required in dom0';
  expect(await broker.call(SET, { name: 'ai-net1', rules: ONLY_WEB })).toEqual({ ok: false, error: left });
  const done = new Promise<void>((resolve) => {
    broker.qubesd.onDone = () => resolve();
  });
  broker.qubesd.release();
  await done;
  expect(broker.world.qube('ai-net1').firewall).toContain('example.com');
});

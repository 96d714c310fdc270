import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { openIntents, type Seen } from '../../daemon/journal/open-intents.ts';
import { MAX_WAITED_MS } from '../../daemon/plans/plans.ts';
import { QUIET } from '../broker/daemon.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import { asking, commit, LIFECYCLE, life, prepare, REFUSED, step } from './planning.ts';

const REBUILD = [
  step('qmcp.GetPropertyAIManaged', { name: 'ai-idle', property: 'label' }),
  step('qmcp.SpawnAIManagedQube', { name: 'ai-lab', template: 'ai-debian-13' }),
  step('qmcp.SetPropertyAIManaged', { name: 'ai-lab', property: 'memory', value: 800 }),
  life('ai-lab', 'start'),
  life('ai-idle', 'remove'),
];

test('preparing changes nothing and asks nobody', async () => {
  const { broker, approver } = await asking();
  await prepare(broker, REBUILD);
  expect(broker.qubesd.changes()).toEqual([]);
  expect(approver.questions).toEqual([]);
});

test('a plan is one question with every step, destructive ones first, and runs in order after one yes', async () => {
  const { broker, approver } = await asking();
  const nonce = await prepare(broker, REBUILD);
  const reply = commit(broker, nonce);
  const asked = await approver.next();
  const { lines, type_to_confirm, risk, marks } = asked.question.view;
  expect({ risk, type_to_confirm }).toEqual({ risk: 'destroy', type_to_confirm: 'ai-idle' });
  expect(lines[0]).toBe('Run a plan of 5 steps, 1 of them destructive');
  expect(lines.map((line) => line.slice(0, 28))).toEqual([
    'Run a plan of 5 steps, 1 of ',
    'Asked by: mcp-control (gray)',
    'Step 5: Remove ai-idle (gray',
    'Step 2: Create ai-lab (gray)',
    'Step 2, more: The label gray',
    'Step 3: Change the initial m',
    'Step 4: Start ai-lab (gray);',
    'Steps that only read, and we',
    'The steps run in the order o',
  ]);
  for (const mark of marks) expect(lines[mark.line]?.slice(mark.start, mark.end)).toMatch(/^(ai-|mcp-)/);
  expect(broker.qubesd.changes()).toEqual([]);
  asked.approve();
  expect(await reply).toEqual({
    ok: true,
    state: 'done',
    results: [{ ok: true, value: 'gray' }, { ok: true, name: 'ai-lab' }, { ok: true }, { ok: true }, { ok: true }],
  });
  expect(broker.qubesd.changes().map(([method, name]) => `${method} ${name}`)).toEqual([
    'admin.vm.Create.AppVM+ai-debian-13 dom0',
    'admin.vm.tag.Set+ai-managed ai-lab',
    'admin.vm.tag.Set+qmcp-owner_mcp-control ai-lab',
    'admin.vm.property.Set+netvm ai-lab',
    'admin.vm.property.Set+memory ai-lab',
    'admin.vm.Start ai-lab',
    'admin.vm.Remove ai-idle',
  ]);
  expect(approver.questions).toHaveLength(1);
  const lines2 = await broker.lines();
  expect(lines2.filter((line) => line.plan === nonce && line.type === 'intent').map(({ action }) => action)).toEqual([
    'commit',
    'spawn',
    'set-property',
    'start',
    'remove',
  ]);
});

test('a plan that asks for nothing destructive needs no question', async () => {
  const { broker, approver } = await asking();
  const nonce = await prepare(broker, [life('ai-idle', 'start'), life('ai-idle', 'pause'), life('ai-idle', 'unpause')]);
  expect(await commit(broker, nonce)).toEqual({
    ok: true,
    state: 'done',
    results: [{ ok: true }, { ok: true }, { ok: true }],
  });
  expect(approver.questions).toEqual([]);
});

test('a plan may create, configure, start, stop and remove the same qube', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const nonce = await prepare(broker, [
    step('qmcp.SpawnAIManagedQube', { name: 'ai-lab', template: 'ai-debian-13' }),
    step('qmcp.SetFeatureAIManaged', { name: 'ai-lab', feature: 'ai-note', value: 'x' }),
    life('ai-lab', 'start'),
    life('ai-lab', 'kill'),
    life('ai-lab', 'remove'),
  ]);
  expect(await commit(broker, nonce)).toMatchObject({ ok: true, state: 'done' });
  expect(broker.world.qubes.has('ai-lab')).toBe(false);
});

test('a plan may remove a qube and create another under its name', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const { uuid } = broker.world.qube('ai-idle');
  const nonce = await prepare(broker, [
    step('qmcp.SetFeatureAIManaged', { name: 'ai-idle', feature: 'ai-note', value: 'x' }),
    life('ai-idle', 'remove'),
    step('qmcp.SpawnAIManagedQube', { name: 'ai-idle', template: 'ai-debian-13' }),
    life('ai-idle', 'start'),
  ]);
  expect(await commit(broker, nonce)).toMatchObject({ ok: true, state: 'done' });
  expect(broker.world.qube('ai-idle').uuid).not.toBe(uuid);
});

describe('the whole plan is not found when', () => {
  test.each([
    ['a step names a qube that is not there', [life('ai-idle', 'start'), life('ghost', 'start')]],
    ['a step names a qube out of scope', [life('ai-idle', 'start'), life('vault', 'start')]],
    ['a step is beyond its tier', [life('ai-exec1', 'start')]],
    ['a step is of no service', [step('qmcp.Nope', {})]],
    ['a step is a plan', [step('qmcp.Prepare', { calls: [] })]],
    ['a step waits for events', [step('qmcp.AIManagedEvents', { duration: 1 })]],
    ['a step has a request of the wrong shape', [step(LIFECYCLE, { name: 'ai-idle', action: 'explode' })]],
    ['a step would fail after the ones before it', [life('ai-idle', 'start'), life('ai-idle', 'remove')]],
    ['a step names what an earlier one removes', [life('ai-idle', 'remove'), life('ai-idle', 'start')]],
    ['a read is refused', [step('qmcp.GetPropertyAIManaged', { name: 'vault', property: 'label' })]],
  ])('%s', async (_, calls) => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    expect(await broker.call('qmcp.Prepare', { calls })).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([]);
  });
});

test.each([
  ['no list', {}],
  ['an empty list', { calls: [] }],
  ['33 steps', { calls: Array(33).fill(life('ai-idle', 'start')) }],
  ['a step that is no object', { calls: ['start'] }],
  ['a service that is no name', { calls: [{ service: 5, request: {} }] }],
  ['a request that is a list', { calls: [{ service: LIFECYCLE, request: [] }] }],
  ['a list in its place', []],
])('a plan of the wrong shape, %s, is told the right one', async (_, request) => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  expect(await broker.call('qmcp.Prepare', request)).toEqual({
    ok: false,
    error: 'calls must be a list of 1 to 32 objects with a service and a request',
  });
});

test('32 steps are a plan', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const calls = Array.from({ length: 16 }, () => [life('ai-idle', 'start'), life('ai-idle', 'kill')]).flat();
  const nonce = await prepare(broker, calls);
  expect(await commit(broker, nonce)).toMatchObject({ state: 'done', results: Array(32).fill({ ok: true }) });
});

describe('a nonce', () => {
  test('is good for one commit: the second is refused while the first is asked, and after it', async () => {
    const { broker, approver } = await asking();
    const nonce = await prepare(broker, [life('ai-idle', 'remove')]);
    const first = commit(broker, nonce);
    const asked = await approver.next();
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    asked.approve();
    expect(await first).toMatchObject({ state: 'done' });
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([['admin.vm.Remove', 'ai-idle']]);
  });

  test('does not exist for another source', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const nonce = await prepare(broker, [life('ai-idle', 'start')]);
    for (const service of ['qmcp.Commit', 'qmcp.Status', 'qmcp.Cancel']) {
      expect(await broker.call(service, {}, 'mcp-other', nonce)).toEqual(REFUSED);
    }
    expect(await commit(broker, nonce)).toMatchObject({ state: 'done' });
  });

  test.each([
    ['of the wrong length', (nonce: string) => nonce.slice(1)],
    ['in another case', (nonce: string) => nonce.toUpperCase().replace(/^[0-9]*/, 'A')],
    ['that was never given', () => 'f'.repeat(64)],
    ['that is empty', () => ''],
  ])('%s does not exist', async (_, change) => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const nonce = await prepare(broker, [life('ai-idle', 'start')]);
    expect(await commit(broker, change(nonce))).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is void once a qube of its plan changes, and no other qube matters', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const nonce = await prepare(broker, [life('ai-idle', 'start')]);
    const heard = (name: string) =>
      new Promise<void>((resolve) => broker.view.watch((changed) => changed === name && resolve()));
    const ofAnother = heard('ai-work');
    broker.world.addTag('ai-work', 'something');
    await ofAnother;
    expect(await broker.call('qmcp.Status', {}, undefined, nonce)).toEqual({ ok: true, state: 'pending' });
    const ofIts = heard('ai-idle');
    broker.world.addTag('ai-idle', 'something');
    broker.world.removeTag('ai-idle', 'something');
    await ofIts;
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is void after Cancel, and its place is free', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    for (let place = 0; place < 7; place++) await prepare(broker, [life('ai-idle', 'start')]);
    const nonce = await prepare(broker, [life('ai-idle', 'start')]);
    expect(await broker.call('qmcp.Cancel', {}, undefined, nonce)).toEqual({ ok: true });
    expect(await broker.call('qmcp.Status', {}, undefined, nonce)).toEqual(REFUSED);
    await prepare(broker, [life('ai-idle', 'start')]);
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(await broker.call('qmcp.Cancel', {}, undefined, nonce)).toEqual(REFUSED);
  });

  test('is one of eight open per source at the most', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    for (let i = 0; i < 8; i++) await prepare(broker, [life('ai-idle', 'start')]);
    expect(await broker.call('qmcp.Prepare', { calls: [life('ai-idle', 'start')] })).toEqual(REFUSED);
    await prepare(broker, [life('ai-idle', 'start')], 'mcp-other');
  });
});

test('cancelling takes the question back', async () => {
  const { broker, approver } = await asking();
  const nonce = await prepare(broker, [life('ai-idle', 'remove')]);
  const reply = commit(broker, nonce);
  const asked = await approver.next();
  expect(await broker.call('qmcp.Cancel', {}, undefined, nonce)).toEqual({ ok: true });
  await asked.gone;
  expect(await reply).toEqual(REFUSED);
  expect(broker.qubesd.changes()).toEqual([]);
});

test('a commit that does not wait is pending, then running or done, and its results are kept', async () => {
  const { broker, approver } = await asking();
  const nonce = await prepare(broker, [life('ai-idle', 'remove')]);
  expect(await commit(broker, nonce, { wait: false })).toEqual({ ok: true, state: 'pending' });
  const asked = await approver.next();
  expect(await broker.call('qmcp.Status', {}, undefined, nonce)).toEqual({ ok: true, state: 'pending' });
  const done = broker.qubesd.nextCall('admin.vm.Remove');
  asked.approve();
  await done;
  const look = () => broker.call('qmcp.Status', {}, undefined, nonce);
  let status = await look();
  while ('state' in status && status.state !== 'done') {
    await new Promise((resolve) => setImmediate(resolve));
    status = await look();
  }
  expect(status).toEqual({ ok: true, state: 'done', results: [{ ok: true }] });
});

test('a denied plan is refused, and its status too', async () => {
  const { broker, approver } = await asking();
  const nonce = await prepare(broker, [life('ai-idle', 'remove')]);
  const reply = commit(broker, nonce);
  (await approver.next()).deny();
  expect(await reply).toEqual(REFUSED);
  expect(await broker.call('qmcp.Status', {}, undefined, nonce)).toEqual(REFUSED);
  expect(broker.qubesd.changes()).toEqual([]);
});

test('a plan stops at the first step that fails, and says what was done', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const nonce = await prepare(broker, [life('ai-idle', 'start'), life('ai-work', 'pause'), life('ai-full1', 'start')]);
  broker.qubesd.faults.inject({ method: 'admin.vm.Pause', fault: { exception: ['QubesVMError', 'x'] } });
  expect(await commit(broker, nonce)).toEqual({
    ok: true,
    state: 'failed',
    results: [{ ok: true }, { ok: false, error: 'action failed' }],
  });
  expect(broker.qubesd.changes().map(([method]) => method)).toEqual(['admin.vm.Start', 'admin.vm.Pause']);
});

test('a change behind the back of an open plan question is refused although the person says yes', async () => {
  const { broker, approver } = await asking();
  const nonce = await prepare(broker, [life('ai-full1', 'start'), life('ai-idle', 'remove')]);
  const reply = commit(broker, nonce);
  const asked = await approver.next();
  broker.world.silently(() => broker.world.removeTag('ai-full1', 'ai-managed'));
  asked.approve();
  expect(await reply).toEqual(REFUSED);
  expect(broker.qubesd.changes()).toEqual([]);
});

describe('a plan that was committed without a question', () => {
  const steps = [life('ai-work', 'shutdown'), life('ai-idle', 'start')];
  const guardAt = (broker: InProcess, method: string, dest: string): void => {
    broker.qubesd.onDone = (call) => {
      if (call.method === method && call.name === dest) writeFileSync(join(broker.etc, 'guarded'), 'ai-idle\n');
    };
  };

  test('stops before a step that the operator wants asked by now', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const nonce = await prepare(broker, steps);
    guardAt(broker, 'admin.vm.Shutdown', 'ai-work');
    expect(await commit(broker, nonce)).toEqual({ ok: true, state: 'failed', results: [{ ok: true }, REFUSED] });
    expect(broker.qubesd.changes()).toEqual([['admin.vm.Shutdown', 'ai-work']]);
  });

  test('does not begin when that is so before its first step', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const nonce = await prepare(broker, steps);
    // By then the first look has taken its settings, and the second one has not.
    guardAt(broker, 'admin.vm.tag.List', 'ai-idle');
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([]);
  });
});

test('a plan that waits for a shutdown and creates nothing lets others create', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const nonce = await prepare(broker, [life('ai-work', 'shutdown'), life('ai-work', 'start')], 'ai-full1');
  const shutdown = broker.qubesd.nextCall('admin.vm.Shutdown');
  // What runs in it takes no notice.
  broker.qubesd.onDone = ({ method }) => {
    if (method === 'admin.vm.Shutdown') broker.world.setState('ai-work', 'Running');
  };
  await commit(broker, nonce, { wait: false }, 'ai-full1');
  await shutdown;
  const spawn = { name: 'ai-lab', template: 'ai-debian-13' };
  expect(await broker.call('qmcp.SpawnAIManagedQube', spawn)).toEqual({ ok: true, name: 'ai-lab' });
  expect(await broker.call('qmcp.Status', {}, 'ai-full1', nonce)).toMatchObject({ state: 'running' });
  await broker.call('qmcp.Cancel', {}, 'ai-full1', nonce);
  await vi.waitFor(async () => {
    expect(await broker.call('qmcp.Status', {}, 'ai-full1', nonce)).toMatchObject({ state: 'failed' });
  });
});

describe('what the steps of a plan wait for', () => {
  /** Two qubes to stop and start again, which take so many milliseconds to stop; time passes only while the plan waits. */
  const restarting = async (first: number, second: number) => {
    let ms = 0;
    const msToStop: Record<string, number> = { 'ai-work': first, 'ai-full1': second };
    const halts = new Map<string, number>();
    const broker = await temporaryBroker({
      monotonicMs: () => ms,
      pause: async () => {
        ms += MAX_WAITED_MS / 6;
        for (const [name, at] of halts) if (ms >= at) broker.world.setState(name, 'Halted');
      },
    });
    broker.world.setState('ai-full1', 'Running');
    broker.qubesd.onDone = ({ method, name }) => {
      if (method !== 'admin.vm.Shutdown') return;
      broker.world.setState(name, 'Halting');
      halts.set(name, ms + (msToStop[name] ?? 0));
    };
    const both = ['ai-work', 'ai-full1'].flatMap((name) => [life(name, 'shutdown'), life(name, 'start')]);
    return commit(broker, await prepare(broker, both));
  };

  test('may take so long, all together', async () => {
    const half = MAX_WAITED_MS / 2;
    expect(await restarting(half, half)).toMatchObject({ state: 'done', results: Array(4).fill({ ok: true }) });
  });

  test('ends it when it takes longer, at whichever step that is', async () => {
    const [ok, late] = [{ ok: true }, REFUSED];
    const half = MAX_WAITED_MS / 2;
    expect(await restarting(half, half + 1)).toEqual({ ok: true, state: 'failed', results: [ok, ok, ok, late] });
    expect(await restarting(2 * half + 1, 0)).toEqual({ ok: true, state: 'failed', results: [ok, late] });
  });
});

test('preparing asks qubesd for no property that the view holds, however many steps read them', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  await broker.call('qmcp.ListAIManagedQubes', {});
  broker.qubesd.reset();
  const twice = (value: string) => [
    step('qmcp.SetFeatureAIManaged', { name: 'ai-work', feature: 'ai-x', value }),
    step('qmcp.ListAIManagedQubes', {}),
  ];
  await prepare(broker, [...twice('1'), ...twice('2'), ...twice('3')]);
  expect(broker.qubesd.calls.map(({ method }) => method).filter((method) => method.includes('property'))).toEqual([]);
});

test('of two plans that run at once, the journal knows which one has not ended', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const letGo = new Map<string, () => void>();
  broker.qubesd.onCall = ({ method, name }) =>
    method === 'admin.vm.Start' ? new Promise((resolve) => letGo.set(name, resolve)) : undefined;
  const run = async (name: string) => {
    const nonce = await prepare(broker, [life(name, 'start')]);
    const begun = broker.qubesd.nextCall('admin.vm.Start', name);
    const reply = commit(broker, nonce);
    await begun;
    return { nonce, reply };
  };
  const open = async () => {
    const intents = openIntents();
    for (const line of await broker.lines()) intents.see(line as Seen);
    return intents.list().flatMap(({ service, nonce }) => (service === 'qmcp.Commit' ? [nonce] : []));
  };
  const [first, second] = [await run('ai-idle'), await run('ai-full1')];
  expect(await open()).toEqual([first.nonce, second.nonce]);
  letGo.get('ai-idle')?.();
  expect(await first.reply).toMatchObject({ state: 'done' });
  expect(await open()).toEqual([second.nonce]);
  letGo.get('ai-full1')?.();
  expect(await second.reply).toMatchObject({ state: 'done' });
  expect(await open()).toEqual([]);
});

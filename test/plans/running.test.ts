// What happens while a plan runs, and what is written of it.
import { describe, expect, test, vi } from 'vitest';
import { QUIET } from '../broker/daemon.ts';
import { type InProcess, type InProcessOptions, temporaryBroker } from '../broker/in-process.ts';
import { asking, cancel, commit, LIFECYCLE, life, note, prepare, REFUSED, spawn, status, step } from './planning.ts';

const READ = step('qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'label' });
const OK = { ok: true };

/** A plan that runs, and is held in the call of that method on that qube until let go. */
const held = async (calls: readonly unknown[], method: string, name: string, options: InProcessOptions = {}) => {
  const broker = await temporaryBroker({ operatorFiles: QUIET, ...options });
  const nonce = await prepare(broker, calls);
  let letGo = (): void => {};
  broker.qubesd.onCall = (call) => {
    if (call.method !== method || call.name !== name) return;
    broker.qubesd.onCall = undefined;
    return new Promise((resolve) => {
      letGo = resolve;
    });
  };
  const begun = broker.qubesd.nextCall(method, name);
  const reply = commit(broker, nonce);
  await begun;
  return { broker, nonce, reply, letGo: () => letGo() };
};

const ofPlan = async (broker: InProcess, nonce: string) =>
  (await broker.lines()).filter(({ plan, service }) => plan === nonce && service === 'qmcp.Commit');

describe('the journal has of a plan', () => {
  const common = (broker: InProcess, nonce: string) => ({
    source: 'mcp-control',
    principal: 'default',
    service: 'qmcp.Commit',
    action: 'commit',
    qubes: [{ role: 'named', name: 'ai-idle', uuid: broker.world.qube('ai-idle').uuid }],
    args: { steps: 3, changes: 2 },
    plan: nonce,
  });
  const steps = [READ, life('ai-idle', 'start'), life('ai-idle', 'pause')];

  test('its intent with its nonce, and its outcome, under one number', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const prepared = (await broker.call('qmcp.Prepare', { calls: steps })) as unknown as Record<string, string>;
    const { nonce = '', digest } = prepared;
    await commit(broker, nonce);
    const lines = await ofPlan(broker, nonce);
    expect(lines).toMatchObject([
      { ...common(broker, nonce), type: 'intent', nonce, digest },
      { ...common(broker, nonce), type: 'outcome', ok: true, error: null, cause: null },
    ]);
    expect(new Set(lines.map(({ call }) => call)).size).toBe(1);
  });

  test('after how many of its steps it stopped', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const nonce = await prepare(broker, steps);
    broker.qubesd.faults.inject({ method: 'admin.vm.Start', fault: { exception: ['QubesVMError', 'x'] } });
    await commit(broker, nonce);
    const [, outcome] = await ofPlan(broker, nonce);
    const stopped = { type: 'outcome', ok: false, error: null, cause: 'stopped after 2 of 3 steps' };
    expect(outcome).toMatchObject({ ...common(broker, nonce), ...stopped });
  });

  test('how long it took', async () => {
    let ms = 0;
    const broker = await temporaryBroker({ operatorFiles: QUIET, monotonicMs: () => ms });
    const nonce = await prepare(broker, steps);
    ms = 1_000;
    broker.qubesd.onDone = ({ method }) => {
      if (method === 'admin.vm.Start') ms += 70.4;
    };
    await commit(broker, nonce);
    expect((await ofPlan(broker, nonce))[1]).toMatchObject({ duration_ms: 70 });
  });
});

test('the status of a running plan has what was done so far', async () => {
  const { broker, nonce, reply, letGo } = await held([READ, life('ai-idle', 'start')], 'admin.vm.Start', 'ai-idle');
  const results = [{ ok: true, value: 'yellow' }];
  expect(await status(broker, nonce)).toEqual({ ok: true, state: 'running', results });
  letGo();
  expect(await reply).toMatchObject({ state: 'done' });
});

test('a read of a plan is answered by what the steps before it would leave', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const label = (name: string) => step('qmcp.GetPropertyAIManaged', { name, property: 'label' });
  const color = step('qmcp.SetPropertyAIManaged', { name: 'ai-idle', property: 'label', value: 'blue' });
  const names = step('qmcp.ListAIManagedQubes', {});
  const nonce = await prepare(broker, [label('ai-idle'), color, label('ai-idle'), spawn('ai-lab'), names]);
  const { results } = (await commit(broker, nonce)) as unknown as { results: Record<string, unknown>[] };
  expect([results[0]?.value, results[2]?.value]).toEqual(['gray', 'blue']);
  expect(JSON.stringify(results[4])).toContain('"ai-lab"');
});

test('a plan that is cancelled while it runs ends after the step that it is at', async () => {
  const steps = [life('ai-idle', 'start'), life('ai-full1', 'start')];
  const { broker, nonce, reply, letGo } = await held(steps, 'admin.vm.Start', 'ai-idle');
  expect(await cancel(broker, nonce)).toEqual(OK);
  letGo();
  expect(await reply).toEqual({ ok: true, state: 'failed', results: [OK] });
  expect(broker.qubesd.changes()).toEqual([['admin.vm.Start', 'ai-idle']]);
});

test('a plan ends after the step that it is at when the broker stops', async () => {
  const steps = [life('ai-idle', 'start'), life('ai-full1', 'start')];
  const { broker, reply, letGo } = await held(steps, 'admin.vm.Start', 'ai-idle');
  broker.abort();
  letGo();
  expect(await reply).toEqual({ ok: true, state: 'failed', results: [OK] });
  expect(broker.qubesd.changes()).toEqual([['admin.vm.Start', 'ai-idle']]);
});

test.each([
  ['done', [life('ai-idle', 'start')], 'done'],
  ['failed', [life('ai-idle', 'start'), life('ai-work', 'pause')], 'failed'],
])('a plan that is %s cannot be cancelled', async (_, steps, state) => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const nonce = await prepare(broker, steps);
  broker.qubesd.faults.inject({ method: 'admin.vm.Pause', fault: 'empty' });
  expect(await commit(broker, nonce)).toMatchObject({ state });
  expect(await cancel(broker, nonce)).toEqual(REFUSED);
});

test('what a plan came to is kept for a quarter of an hour after its end, not after its begin', async () => {
  let ms = 0;
  const broker = await temporaryBroker({ operatorFiles: QUIET, monotonicMs: () => ms });
  const nonce = await prepare(broker, [life('ai-idle', 'start')]);
  ms += 9 * 60_000;
  await commit(broker, nonce);
  ms += 15 * 60_000 - 1;
  expect(await status(broker, nonce)).toMatchObject({ state: 'done' });
  ms += 1;
  expect(await status(broker, nonce)).toEqual(REFUSED);
});

test('a plan that was refused cannot be cancelled', async () => {
  const { broker, approver } = await asking();
  const nonce = await prepare(broker, [life('ai-idle', 'remove')]);
  approver.reflex = (asked) => asked.deny();
  expect(await commit(broker, nonce)).toEqual(REFUSED);
  expect(await cancel(broker, nonce)).toEqual(REFUSED);
});

test('what nobody planned in the middle of a plan ends it, and the operator is told', async () => {
  const odd = new Error('odd');
  const { broker, reply, letGo } = await held(
    [life('ai-idle', 'start'), life('ai-idle', 'pause')],
    'admin.vm.Start',
    'ai-idle',
  );
  const settings = vi.spyOn(broker.settings, 'current').mockImplementation(() => {
    throw odd;
  });
  letGo();
  expect(await reply).toEqual({ ok: true, state: 'failed', results: [OK] });
  settings.mockRestore();
  expect(broker.unplanned.splice(0)).toEqual([odd]);
});

test('a step ends the plan when qubesd does not answer by then', async () => {
  const { broker, reply, letGo } = await held(
    [life('ai-idle', 'start'), life('ai-idle', 'pause')],
    'admin.vm.Start',
    'ai-idle',
  );
  broker.qubesd.faults.inject({ method: 'admin.vm.List', dest: 'ai-idle', fault: 'empty' });
  letGo();
  expect(await reply).toEqual({ ok: true, state: 'failed', results: [OK, REFUSED] });
});

describe('while a plan runs', () => {
  test('nobody else changes the qubes that it has yet to come to', async () => {
    const steps = [life('ai-idle', 'start'), note('ai-full1', 'x')];
    const { broker, reply, letGo } = await held(steps, 'admin.vm.Start', 'ai-idle');
    const done: string[] = [];
    const other = broker.call(LIFECYCLE, { name: 'ai-full1', action: 'start' }).then(() => done.push('other'));
    // Longer than the start would take.
    for (const action of Array(5).fill(['pause', 'unpause']).flat()) {
      expect(await broker.call(LIFECYCLE, { name: 'ai-work', action })).toEqual(OK);
    }
    letGo();
    await reply.then(() => done.push('plan'));
    await other;
    expect(done).toEqual(['plan', 'other']);
  });

  test('that creates something, nobody else creates', async () => {
    const steps = [life('ai-idle', 'start'), spawn('ai-lab')];
    const { broker, reply, letGo } = await held(steps, 'admin.vm.Start', 'ai-idle');
    const done: string[] = [];
    // Of another qube than the plan's.
    const clone = { source: 'ai-full1', name: 'ai-den' };
    const other = broker.call('qmcp.CloneAIManagedQube', clone).then(({ ok }) => ok && done.push('other'));
    // Longer than the creation would take.
    for (const action of Array(10).fill(['pause', 'unpause']).flat()) {
      expect(await broker.call(LIFECYCLE, { name: 'ai-work', action })).toEqual(OK);
    }
    letGo();
    await reply.then(() => done.push('plan'));
    await other;
    expect(done).toEqual(['plan', 'other']);
  });
});

describe('a step that is not as it was shown', () => {
  /** A plan whose last step comes upon another tag than was there; how often it looked again. */
  const surprised = async (steps: readonly unknown[], method: string, name: string) => {
    let looks = 0;
    const pause = async (): Promise<void> => {
      looks += 1;
      if (looks === 5) broker.world.removeTag('ai-full1', 'x');
    };
    const broker = await temporaryBroker({ operatorFiles: QUIET, pause });
    const nonce = await prepare(broker, steps);
    broker.qubesd.onDone = (call) => {
      if (call.method === method && call.name === name) broker.world.addTag('ai-full1', 'x');
    };
    return { reply: await commit(broker, nonce), looks };
  };

  test.each([
    ['was touched by no step', [life('ai-idle', 'start'), note('ai-full1', 'y')], 'admin.vm.Start', 'ai-idle'],
    ['was read', [READ, life('ai-idle', 'start'), note('ai-full1', 'y')], 'admin.vm.Start', 'ai-idle'],
    ['was only noted', [note('ai-full1', 'x'), note('ai-full1', 'y')], 'admin.vm.feature.Set', 'ai-full1'],
    [
      'is started later',
      [life('ai-idle', 'start'), note('ai-full1', 'y'), life('ai-full1', 'start')],
      'admin.vm.Start',
      'ai-idle',
    ],
  ])('ends the plan at once where its qube %s', async (_, steps, method, name) => {
    const { reply, looks } = await surprised(steps, method, name);
    expect(reply).toMatchObject({ state: 'failed' });
    expect(looks).toBe(0);
  });

  test.each([
    ['started', [life('ai-full1', 'start'), READ, note('ai-full1', 'y')], 'admin.vm.Start'],
    [
      'shut down',
      [note('ai-work', 'x'), life('ai-full1', 'start'), life('ai-full1', 'shutdown'), note('ai-full1', 'y')],
      'admin.vm.Shutdown',
    ],
  ])('is waited for where its qube was %s', async (_, steps, method) => {
    const { reply, looks } = await surprised(steps, method, 'ai-full1');
    expect(reply).toMatchObject({ state: 'done' });
    expect(looks).toBe(5);
  });

  test('is waited for no more once the plan is cancelled, or its qube is gone, or the broker stops', async () => {
    for (const end of ['cancel', 'gone', 'stop']) {
      let looks = 0;
      const pause = async (): Promise<void> => {
        looks += 1;
        if (looks < 3) return;
        if (end === 'cancel') await cancel(broker, nonce);
        else if (end === 'gone') broker.world.remove('ai-full1');
        else broker.abort();
      };
      const broker = await temporaryBroker({ operatorFiles: QUIET, pause });
      const nonce = await prepare(broker, [life('ai-full1', 'start'), note('ai-full1', 'y')]);
      broker.qubesd.onDone = ({ method }) => {
        if (method === 'admin.vm.Start') broker.world.addTag('ai-full1', 'x');
      };
      expect(await commit(broker, nonce)).toEqual({ ok: true, state: 'failed', results: [OK, REFUSED] });
      expect(looks).toBe(3);
    }
  });
});

// An agent that knows every line of the broker, and tries what lies between its stations.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { LISTED_PER_WINDOW } from '../../daemon/journal/refusals.ts';
import { MAX_DEPTH } from '../../daemon/nesting.ts';
import { startApprover } from '../confirm/approver.ts';
import { enrollIn } from '../principals/enrolling.ts';
import { enrolled, freshNumber, seal, unsignedFile } from '../principals/signing.ts';
import { ASKING, QUIET } from './daemon.ts';
import { type InProcess, temporaryBroker } from './in-process.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const REFUSED = { ok: false, error: 'not found' };
const REMOVE = { name: 'ai-idle', action: 'remove' };

const asking = async () => {
  const broker = await temporaryBroker({ operatorFiles: ASKING });
  const approver = await startApprover(join(broker.run, 'confirm.sock'));
  writeFileSync(join(broker.etc, 'confirm.pub'), `${approver.publicKey}\n`);
  return { broker, approver };
};

/** A plan of these calls; its nonce. */
const prepare = async (broker: InProcess, calls: unknown, source?: string): Promise<string> => {
  const reply = await broker.call('qmcp.Prepare', { calls }, source);
  expect(reply).toMatchObject({ ok: true });
  return (reply as unknown as { nonce: string }).nonce;
};

test('what changes while a question is being put into words voids it: nobody approves a colour of before', async () => {
  const { broker, approver } = await asking();
  approver.reflex = (asked) => asked.approve();
  // The last that the words are made of is held back until the label has changed behind them.
  broker.qubesd.faults.inject({ method: 'admin.vm.volume.Info', dest: 'ai-idle', fault: 'hang' });
  const describing = broker.qubesd.nextCall('admin.vm.volume.Info', 'ai-idle');
  const reply = broker.call(LIFECYCLE, REMOVE);
  await describing;
  const label = { name: 'ai-idle', property: 'label', value: 'green' };
  expect(await broker.call('qmcp.SetPropertyAIManaged', label)).toEqual({ ok: true });
  broker.qubesd.release();
  expect(await reply).toEqual(REFUSED);
  expect(broker.qubesd.changes().map(([method]) => method)).not.toContain('admin.vm.Remove');
});

test('a yes is void when work that was under way when it was given changes the qube before its turn', async () => {
  const { broker, approver } = await asking();
  const reply = broker.call(LIFECYCLE, REMOVE);
  const asked = await approver.next();
  // Not a part of what the digest binds, and heard of only when the window is gone.
  broker.qubesd.faults.inject({ method: 'admin.vm.property.Set+label', dest: 'ai-idle', fault: 'hang' });
  const changing = broker.qubesd.nextCall('admin.vm.property.Set', 'ai-idle');
  const label = broker.call('qmcp.SetPropertyAIManaged', { name: 'ai-idle', property: 'label', value: 'green' });
  await changing;
  asked.approve();
  await vi.waitFor(async () =>
    expect(await broker.lines()).toContainEqual(expect.objectContaining({ type: 'answer', answer: 'approved' })),
  );
  broker.qubesd.release();
  expect([await label, await reply]).toEqual([{ ok: true }, REFUSED]);
});

describe('a window that its own asker takes off the screen', () => {
  test('counts like a denial, so that nobody can keep the screen flickering', async () => {
    const { broker, approver } = await asking();
    for (let shown = 0; shown < 3; shown++) {
      const nonce = await prepare(broker, [{ service: LIFECYCLE, request: REMOVE }]);
      const reply = broker.call('qmcp.Commit', {}, undefined, nonce);
      const asked = await approver.next();
      await broker.call('qmcp.Cancel', {}, undefined, nonce);
      await asked.gone;
      expect(await reply).toEqual(REFUSED);
    }
    const nonce = await prepare(broker, [{ service: LIFECYCLE, request: REMOVE }]);
    expect(await broker.call('qmcp.Commit', {}, undefined, nonce)).toEqual(REFUSED);
    expect(approver.questions).toHaveLength(3);
    // And the journal says why nobody was asked.
    expect((await broker.lines()).at(-1)).toMatchObject({
      service: 'qmcp.Commit',
      plan: nonce,
      rule: 'questions-rest',
    });
  });

  test('counts whatever way it is taken: by a change of the qube it is about, too', async () => {
    const { broker, approver } = await asking();
    for (const value of ['red', 'green', 'blue']) {
      const reply = broker.call(LIFECYCLE, REMOVE);
      const asked = await approver.next();
      await broker.call('qmcp.SetPropertyAIManaged', { name: 'ai-idle', property: 'label', value });
      await asked.gone;
      expect(await reply).toEqual(REFUSED);
    }
    expect(await broker.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
    expect(approver.questions).toHaveLength(3);
  });
});

test('a question that its asker voids while it is put into words counts like a denial, so that nobody keeps dialogs starting', async () => {
  const { broker } = await asking();
  for (const value of ['red', 'green', 'blue']) {
    broker.qubesd.faults.inject({ method: 'admin.vm.volume.Info', dest: 'ai-idle', fault: 'hang' });
    const describing = broker.qubesd.nextCall('admin.vm.volume.Info', 'ai-idle');
    const reply = broker.call(LIFECYCLE, REMOVE);
    await describing;
    await broker.call('qmcp.SetPropertyAIManaged', { name: 'ai-idle', property: 'label', value });
    broker.qubesd.release();
    expect(await reply).toEqual(REFUSED);
  }
  expect(await broker.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
  expect((await broker.lines()).at(-1)).toMatchObject({ service: LIFECYCLE, rule: 'questions-rest' });
});

describe('who may not reach a qube does not wait for those who work on it, since the wait would say that it is there', () => {
  test.each([
    ['as its target', LIFECYCLE, { name: 'ai-idle', action: 'start' }],
    ['as a value', 'qmcp.SetPropertyAIManaged', { name: 'ai-work', property: 'default_dispvm', value: 'ai-idle' }],
    ['as the name of a creation', 'qmcp.SpawnAIManagedQube', { name: 'ai-idle', template: 'ai-debian-13' }],
  ])('%s', async (_, service, request) => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    enrollIn(broker.etc, {
      'all.json': unsignedFile({ sources: ['mcp-control'] }),
      'one.json': unsignedFile({ sources: ['mcp-other'], names: ['ai-work', 'ai-debian-13'] }),
    });
    broker.qubesd.faults.inject({ method: 'admin.vm.Start', dest: 'ai-idle', fault: 'hang' });
    const begun = broker.qubesd.nextCall('admin.vm.Start');
    const first = broker.call(LIFECYCLE, { name: 'ai-idle', action: 'start' });
    await begun;
    // It is answered while the work goes on; a wait would end this test by its time limit.
    const hidden = await broker.call(service, request, 'mcp-other');
    const missing = JSON.parse(JSON.stringify(request).replace('ai-idle', 'ai-ghost'));
    expect(hidden).toEqual(await broker.call(service, missing, 'mcp-other'));
    expect(hidden).toMatchObject({ ok: false });
    broker.qubesd.release();
    expect(await first).toEqual({ ok: true });
  });
});

describe('plans cannot wash the history out of the journal', () => {
  const change = (value: string) => ({
    service: 'qmcp.SetPropertyAIManaged',
    request: { name: 'ai-idle', property: 'label', value },
  });

  test('with steps that are only prepared', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const before = (await broker.lines()).length;
    for (let plan = 0; plan < 20; plan++) {
      const nonce = await prepare(
        broker,
        Array.from({ length: 32 }, () => change('red')),
      );
      await broker.call('qmcp.Cancel', {}, undefined, nonce);
    }
    expect((await broker.lines()).length).toBe(before);
  });

  test('with steps before one that is refused', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const before = (await broker.lines()).length;
    const hidden = { service: LIFECYCLE, request: { name: 'vault', action: 'start' } };
    for (let plan = 0; plan < 20; plan++) {
      const calls = [...Array.from({ length: 31 }, () => change('red')), hidden];
      expect(await broker.call('qmcp.Prepare', { calls })).toEqual(REFUSED);
    }
    expect((await broker.lines()).length - before).toBeLessThanOrEqual(LISTED_PER_WINDOW);
  });
});

test('preparing a plan asks qubesd each thing once, however many of its steps want to know it', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  await broker.call('qmcp.ListAIManagedQubes', '');
  const cost = async (steps: number): Promise<number> => {
    broker.qubesd.reset();
    const disposable = { service: 'qmcp.SpawnDisposableAIManaged', request: { template: 'ai-dvmt' } };
    const nonce = await prepare(
      broker,
      Array.from({ length: steps }, () => disposable),
    );
    await broker.call('qmcp.Cancel', {}, undefined, nonce);
    return broker.qubesd.calls.length;
  };
  expect(await cost(32)).toBeLessThanOrEqual((await cost(1)) + 32);
});

describe('a principal', () => {
  const signed = (broker: InProcess, service: string, call: string, argument = '') => {
    const of = { source: 'mcp-control', service, argument, principal: 'web', number: freshNumber(), call };
    return broker.call(service, seal({ ...of, time: Date.now() }), 'mcp-control', argument);
  };

  test('gets around its quota of calls by no plan: each step is one', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    enrollIn(broker.etc, { 'web.json': enrolled({ per_hour: { calls: 5 } }) });
    const reading = { service: 'qmcp.GetPropertyAIManaged', request: { name: 'ai-work', property: 'label' } };
    const plan = (steps: number) => JSON.stringify({ calls: Array.from({ length: steps }, () => reading) });
    expect(await signed(broker, 'qmcp.Prepare', plan(6))).toEqual(REFUSED);
    // What was refused for the quota has used one of it, the call itself.
    expect(await signed(broker, 'qmcp.Prepare', plan(4))).toMatchObject({ ok: true, steps: 4 });
    expect(await signed(broker, 'qmcp.ListAIManagedQubes', '')).toEqual(REFUSED);
    expect((await broker.lines()).map(({ rule }) => rule)).toEqual(['principal-calls', 'principal-calls']);
  });

  test('hides no depth in its envelope', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    enrollIn(broker.etc, { 'web.json': enrolled() });
    const nested = (depth: number) =>
      `{"name":"ai-work","property":"label","x":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
    expect(await signed(broker, 'qmcp.GetPropertyAIManaged', nested(MAX_DEPTH))).toMatchObject({ ok: true });
    expect(await signed(broker, 'qmcp.GetPropertyAIManaged', nested(MAX_DEPTH + 1))).toEqual(REFUSED);
  });
});

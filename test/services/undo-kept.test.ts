// What every change that can be taken back keeps for that, and when.
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Change } from '../../daemon/journal/undo-entry.ts';
import { QUIET } from '../broker/daemon.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';

const SECONDS = 1_800_000_000;
const FLEET: FleetSpec = {
  qubes: {
    'mcp-control': { klass: 'StandaloneVM', state: 'Running', tags: [], props: { netvm: 'ai-net' } },
    'ai-debian': { klass: 'TemplateVM', tags: ['ai-managed'] },
    'ai-dvmt': { tags: ['ai-managed'], props: { template: 'ai-debian', template_for_dispvms: 'True' } },
    'ai-work': {
      tags: ['ai-managed', 'ai-full', 'qmcp-owner_x', 'qmcp-egress-locked_ai-net', 'mine', 'qmcp-tombstone_5'],
      props: { template: 'ai-debian', label: 'blue', netvm: 'ai-net', memory: '600' },
      features: { 'menu-items': 'a.desktop' },
      firewall: 'action=accept dsthost=example.com comment=mine\naction=drop\n',
    },
    'ai-net': { tags: ['ai-managed'], props: { provides_network: 'True' } },
  },
};
/** Nothing is asked, removing leaves a tombstone. */
const FILES = { ...QUIET, tombstones: 'on\n' };

const set = (property: string, value: unknown) => ({
  service: 'qmcp.SetPropertyAIManaged',
  request: { name: 'ai-work', property, value },
});
const feature = (name: string, value: unknown) => ({
  service: 'qmcp.SetFeatureAIManaged',
  request: { name: 'ai-work', feature: name, value },
});
const rules = (...rules: string[]) => ({
  service: 'qmcp.SetFirewallAIManaged',
  request: { name: 'ai-work', rules },
});
const remove = { service: 'qmcp.LifecycleAIManaged', request: { name: 'ai-work', action: 'remove' } };

const CASES: readonly (readonly [string, { service: string; request: object }, Change])[] = [
  ['a label', set('label', 'red'), { kind: 'property', name: 'label', before: { value: 'blue' }, after: 'red' }],
  [
    'a property that was the default',
    set('vcpus', 3),
    { kind: 'property', name: 'vcpus', before: { value: null }, after: '3' },
  ],
  ['a disconnection', set('netvm', null), { kind: 'property', name: 'netvm', before: { value: 'ai-net' }, after: '' }],
  [
    'a feature',
    feature('menu-items', 'b.desktop'),
    { kind: 'feature', name: 'menu-items', before: { value: 'a.desktop' }, after: 'b.desktop' },
  ],
  [
    'a feature that was not set',
    feature('ai-x', true),
    { kind: 'feature', name: 'ai-x', before: { value: null }, after: '1' },
  ],
  [
    'the firewall',
    rules('action=drop'),
    { kind: 'firewall', before: FLEET.qubes['ai-work']?.firewall as string, after: 'action=drop\n' },
  ],
  [
    'a removal',
    remove,
    {
      kind: 'tombstone',
      before: ['ai-full', 'ai-managed', 'qmcp-egress-locked_ai-net', 'qmcp-owner_x', 'qmcp-tombstone_5'],
      after: ['qmcp-egress-locked_ai-net', `qmcp-tombstone_${SECONDS}`],
    },
  ],
];

const open = () => temporaryBroker({ fleet: FLEET, operatorFiles: FILES, now: () => SECONDS * 1000 });
const newest = async (broker: InProcess, type: string) =>
  (await broker.lines()).findLast((line) => line.type === type) ?? {};

describe.each(CASES)('%s', (_, { service, request }, change) => {
  test('is kept with what was there, under the number of its intent, before it is made', async () => {
    const broker = await open();
    const { world } = broker;
    const { uuid } = world.qube('ai-work');
    const keptAtFirstChange: unknown[] = [];
    const stop = world.subscribe((_, event) => {
      if (!event.includes('-pre-') && keptAtFirstChange.length === 0) keptAtFirstChange.push(...broker.undo.list());
    });
    expect(await broker.call(service, request)).toMatchObject({ ok: true });
    stop();
    const kept = broker.undo.list();
    expect(kept).toEqual([
      {
        seq: (await newest(broker, 'intent')).seq,
        at: SECONDS * 1000,
        service,
        source: 'mcp-control',
        principal: 'default',
        qube: { name: 'ai-work', uuid },
        change,
      },
    ]);
    expect(keptAtFirstChange).toEqual(kept);
  });

  test('is not made when that cannot be kept, and the operator is told why', async () => {
    const broker = await open();
    const state = join(broker.root, 'state');
    await rename(state, `${state}.away`);
    const before = JSON.stringify([...broker.world.qube('ai-work').props, ...broker.world.qube('ai-work').tags]);
    expect(await broker.call(service, request)).toMatchObject({ ok: false });
    expect(broker.qubesd.changes()).toEqual([]);
    expect(JSON.stringify([...broker.world.qube('ai-work').props, ...broker.world.qube('ai-work').tags])).toBe(before);
    expect(await newest(broker, 'outcome')).toMatchObject({ ok: false, cause: 'undo unavailable' });
    expect(broker.notices).toEqual([expect.stringMatching(/^Old values cannot be kept in .*its directory is missing/)]);
    // What needs no undo goes on.
    expect(await broker.call('qmcp.LifecycleAIManaged', { name: 'ai-work', action: 'start' })).toEqual({ ok: true });
    await rename(`${state}.away`, state);
    await broker.call('qmcp.LifecycleAIManaged', { name: 'ai-work', action: 'kill' });
    expect(await broker.call(service, request)).toMatchObject({ ok: true });
  });

  test('leaves nothing of a value in the journal', async () => {
    const broker = await open();
    await broker.call(service, request);
    const text = JSON.stringify(await broker.lines());
    if (change.kind === 'tombstone') return;
    const values = [change.after, typeof change.before === 'string' ? change.before : change.before?.value];
    for (const value of values) if (value && value.length > 1) expect(text).not.toContain(JSON.stringify(value));
  });
});

test('a value that nobody could read is kept as unknown, and never taken for none', async () => {
  const broker = await open();
  broker.qubesd.faults.inject({ method: 'admin.vm.property.Get+label', fault: { exception: ['QubesException', 'x'] } });
  await broker.call('qmcp.SetPropertyAIManaged', { name: 'ai-work', property: 'label', value: 'red' });
  broker.qubesd.faults.inject({ method: 'admin.vm.feature.Get', fault: { exception: ['QubesException', 'x'] } });
  await broker.call('qmcp.SetFeatureAIManaged', { name: 'ai-work', feature: 'menu-items', value: 'b.desktop' });
  expect(broker.undo.list().map(({ change }) => change)).toMatchObject([{ before: null }, { before: null }]);
});

test('a change that qubesd refuses leaves nothing to undo, and one of which nobody knows does', async () => {
  const broker = await open();
  const setLabel = () => broker.call('qmcp.SetPropertyAIManaged', { name: 'ai-work', property: 'label', value: 'red' });
  const fault = { exception: ['QubesValueError', 'x'] } as const;
  broker.qubesd.faults.inject({ method: 'admin.vm.property.Set', fault });
  expect(await setLabel()).toMatchObject({ ok: false });
  expect(broker.undo.list()).toEqual([]);
  broker.qubesd.faults.inject({ method: 'admin.vm.property.Set', fault: { cut: 1 } });
  expect(await setLabel()).toMatchObject({ ok: false });
  expect(broker.undo.list()).toHaveLength(1);
});

test('a step of a plan keeps what it changes as a call does, and a rehearsal keeps nothing', async () => {
  const broker = await open();
  const calls = [
    { service: 'qmcp.SetPropertyAIManaged', request: { name: 'ai-work', property: 'label', value: 'red' } },
  ];
  const prepared = await broker.call('qmcp.Prepare', { calls });
  expect(broker.undo.list()).toEqual([]);
  await broker.call('qmcp.Commit', {}, 'mcp-control', 'nonce' in prepared ? String(prepared.nonce) : '');
  expect(broker.undo.list()).toMatchObject([{ change: { before: { value: 'blue' }, after: 'red' } }]);
});

test('what creates, starts, stops or attaches has nothing to take back, and keeps nothing', async () => {
  const broker = await open();
  await broker.call('qmcp.LifecycleAIManaged', { name: 'ai-work', action: 'start' });
  await broker.call('qmcp.SpawnAIManagedQube', { name: 'ai-new', template: 'ai-debian' });
  expect(broker.world.qubes.has('ai-new')).toBe(true);
  expect(broker.undo.list()).toEqual([]);
});

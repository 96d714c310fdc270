// I6, I8: a qube in quarantine is to every service, in every role, what a qube is that is not managed: the same reply, and the
// same readings of qubesd.
import { expect, test } from 'vitest';
import { SERVICES } from '../../daemon/services/registry.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import type { FleetSpec, QubeSpec } from '../qubesd/fleet.ts';
import type { CallRow } from '../qubesd/server.ts';

const managed = ['ai-managed', 'ai-full'];
const fleetWith = (subject: QubeSpec): FleetSpec => ({
  default_netvm: 'sys-firewall',
  qubes: {
    dom0: { klass: 'AdminVM', state: 'Running', tags: [] },
    'mcp-control': { klass: 'StandaloneVM', state: 'Running', tags: [], props: { netvm: 'ai-router' } },
    'sys-firewall': { state: 'Running', tags: [], props: { provides_network: 'True', netvm: null } },
    'ai-router': { state: 'Running', tags: managed, props: { provides_network: 'True', netvm: 'sys-firewall' } },
    'ai-debian': { klass: 'TemplateVM', tags: managed, props: { netvm: null } },
    'ai-dvmt': { tags: managed, props: { template: 'ai-debian', template_for_dispvms: 'True', netvm: 'ai-subject' } },
    'ai-work': {
      tags: managed,
      props: { template: 'ai-debian', netvm: 'ai-subject', default_dispvm: 'ai-subject' },
      features: { guivm: 'ai-subject' },
      devices: { 'block.Attached': ["ai-subject+sda:* devclass='block' backend_domain='ai-subject' port_id='sda'"] },
    },
    'ai-subject': subject,
  },
});
const SUBJECT: QubeSpec = {
  props: { template: 'ai-debian', provides_network: 'True', template_for_dispvms: 'True' },
  devices: { 'block.Available': ["ai-subject+sda:* devclass='block' backend_domain='ai-subject' port_id='sda'"] },
};
const FILES = {
  'consent-policy': '# nothing is asked\n',
  'pool-cap': '1099511627776\n',
  'private-cap': '53687091200\n',
};

const NAME = 'ai-subject';
const device = { device_class: 'block', device_id: 'sda' };
const REQUESTS: readonly (readonly [service: string, request: object])[] = [
  ['qmcp.ListAIManagedQubes', {}],
  ['qmcp.GetPropertyAIManaged', { name: NAME, property: 'label' }],
  ['qmcp.GetPropertyAIManaged', { name: NAME, property: 'tags' }],
  ['qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'netvm' }],
  ['qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'default_dispvm' }],
  ...['start', 'shutdown', 'kill', 'pause', 'unpause', 'remove'].map(
    (action) => ['qmcp.LifecycleAIManaged', { name: NAME, action }] as const,
  ),
  ['qmcp.AIManagedEvents', { duration: 1, qube: NAME }],
  ['qmcp.SetPropertyAIManaged', { name: NAME, property: 'label', value: 'red' }],
  ['qmcp.SetPropertyAIManaged', { name: NAME, property: 'netvm', value: null }],
  ['qmcp.SetPropertyAIManaged', { name: 'ai-work', property: 'default_dispvm', value: NAME }],
  ['qmcp.SetPropertyAIManaged', { name: 'ai-work', property: 'netvm', value: NAME }],
  ['qmcp.SetFeatureAIManaged', { name: NAME, feature: 'menu-items', value: 'x.desktop' }],
  ['qmcp.SetFeatureAIManaged', { name: 'ai-work', feature: 'guivm', value: NAME }],
  ['qmcp.AttachDeviceAIManaged', { ...device, backend: NAME, frontend: 'ai-work' }],
  ['qmcp.AttachDeviceAIManaged', { ...device, backend: 'ai-work', frontend: NAME }],
  ['qmcp.DetachDeviceAIManaged', { ...device, backend: NAME, frontend: 'ai-work' }],
  ['qmcp.DetachDeviceAIManaged', { ...device, backend: 'ai-work', frontend: NAME }],
  ['qmcp.ListAttachedDevicesAIManaged', { name: NAME, device_class: 'block' }],
  ['qmcp.ListAttachedDevicesAIManaged', { name: 'ai-work', device_class: 'block' }],
  ['qmcp.SpawnAIManagedQube', { name: 'ai-new', template: NAME, klass: 'DispVM' }],
  ['qmcp.SpawnAIManagedQube', { name: 'ai-new', template: 'ai-debian', netvm: NAME }],
  ['qmcp.SpawnAIManagedQube', { name: NAME, template: 'ai-debian' }],
  ['qmcp.SpawnAIManagedQube', { name: 'ai-new', template: 'ai-dvmt', klass: 'DispVM' }],
  ['qmcp.SpawnDisposableAIManaged', { template: NAME }],
  ['qmcp.SpawnDisposableAIManaged', { template: 'ai-dvmt' }],
  ['qmcp.CloneAIManagedQube', { source: NAME, name: 'ai-new' }],
  ['qmcp.CloneAIManagedQube', { source: 'ai-work', name: 'ai-new' }],
  ['qmcp.CloneAIManagedQube', { source: 'ai-work', name: NAME }],
  ['qmcp.GetFirewallAIManaged', { name: NAME }],
  ['qmcp.SetFirewallAIManaged', { name: NAME, rules: ['action=drop'] }],
];
/** The sum counts what is in quarantine, and so is not the same. */
const APART = ['qmcp.GetPoolStats'];

/** The pool counts what is in quarantine, as it counts tombstones. */
const isCharge = ([method, name]: CallRow): boolean => name === NAME && method === 'admin.vm.volume.Info+private';

const told = async (broker: InProcess, service: string, request: object, argument = '') => {
  // What the view reads again because of an earlier request is not this one's.
  await broker.view.snapshot();
  broker.qubesd.reset();
  const reply = await broker.call(service, request, 'mcp-control', argument);
  return { reply, calls: broker.qubesd.calls.map(({ row }) => row).filter((row) => !isCharge(row)) };
};

const both = async (): Promise<readonly [held: InProcess, unmanaged: InProcess]> => {
  const held = await temporaryBroker({ fleet: fleetWith({ ...SUBJECT, tags: managed }), operatorFiles: FILES });
  const unmanaged = await temporaryBroker({ fleet: fleetWith({ ...SUBJECT, tags: [] }), operatorFiles: FILES });
  await held.view.snapshot();
  const row = await held.admin.row(NAME as never);
  if (!row) throw new Error('there is no such qube');
  await held.quarantine.keep({ ...row, at: 0 });
  return [held, unmanaged];
};

test('every service is tried', () => {
  expect(new Set([...REQUESTS.map(([service]) => service), ...APART])).toEqual(new Set(SERVICES.keys()));
});

test.each(REQUESTS)(
  '%s %j is answered and read as of an unmanaged qube',
  { timeout: 30_000 },
  async (service, request) => {
    const [held, unmanaged] = await both();
    const expected = await told(unmanaged, service, request);
    expect(await told(held, service, request)).toEqual(expected);
    expect(held.world.qube(NAME).state).toBe('Halted');
  },
);

test.each(REQUESTS.filter(([service]) => service !== 'qmcp.AIManagedEvents'))(
  '%s %j is planned as of an unmanaged qube',
  async (service, request) => {
    const [held, unmanaged] = await both();
    const plan = { calls: [{ service, request }] };
    const [inHeld, inUnmanaged] = [await told(held, 'qmcp.Prepare', plan), await told(unmanaged, 'qmcp.Prepare', plan)];
    expect(inHeld.reply.ok).toBe(inUnmanaged.reply.ok);
    if (!inHeld.reply.ok) expect(inHeld.reply).toEqual(inUnmanaged.reply);
    expect(inHeld.calls.map(([method]) => method)).toEqual(inUnmanaged.calls.map(([method]) => method));
  },
);

test('without the event stream it is the same', async () => {
  const [held, unmanaged] = await both();
  for (const broker of [held, unmanaged]) broker.view.lost();
  for (const [service, request] of REQUESTS.slice(0, 5)) {
    const replies = [await held.call(service, request), await unmanaged.call(service, request)];
    expect(replies[0]).toEqual(replies[1]);
  }
});

test('what happens to it is told to nobody who listens', async () => {
  const [held] = await both();
  const listening = held.call('qmcp.AIManagedEvents', { duration: 1 });
  await new Promise((resolve) => setImmediate(resolve));
  await held.world.start(NAME);
  expect(await listening).toEqual({ ok: true, events: [] });
});

test('its bytes count against the pool as before', async () => {
  const [held] = await both();
  const before = await temporaryBroker({ fleet: fleetWith({ ...SUBJECT, tags: managed }), operatorFiles: FILES });
  expect(await held.call('qmcp.GetPoolStats', {})).toEqual(await before.call('qmcp.GetPoolStats', {}));
});

test('a plan may create and use a qube whose name was left behind without one, as single calls may', async () => {
  const [held] = await both();
  await held.quarantine.keep({ name: 'ai-new' as never, uuid: null, at: 0 });
  const calls = [
    { service: 'qmcp.SpawnAIManagedQube', request: { name: 'ai-new', template: 'ai-debian' } },
    { service: 'qmcp.LifecycleAIManaged', request: { name: 'ai-new', action: 'start' } },
    { service: 'qmcp.ListAIManagedQubes' },
  ];
  const plan = (await held.call('qmcp.Prepare', { calls })) as { ok: boolean; nonce?: string };
  expect(plan.ok).toBe(true);
  expect(await held.call('qmcp.Commit', {}, 'mcp-control', plan.nonce)).toMatchObject({ ok: true });
  expect(held.world.qube('ai-new').state).toBe('Running');
});

test('the journal tells the operator why, and a released qube is one like any other', async () => {
  const [held] = await both();
  const start = { name: NAME, action: 'start' };
  expect(await held.call('qmcp.LifecycleAIManaged', start)).toEqual({ ok: false, error: 'not found' });
  expect((await held.lines()).at(-1)).toMatchObject({ type: 'decision', verdict: 'refuse', rule: 'quarantine' });
  const row = await held.admin.row(NAME as never);
  await held.quarantine.release(row as never);
  expect(await held.call('qmcp.ListAIManagedQubes', {})).toMatchObject({ ok: true });
  expect(JSON.stringify(await held.call('qmcp.ListAIManagedQubes', {}))).toContain(NAME);
  expect(await held.call('qmcp.LifecycleAIManaged', start)).toEqual({ ok: true });
});

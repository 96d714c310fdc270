import { describe, expect, test } from 'vitest';
import { MAX_KNOWN } from '../../daemon/services/spawn-disposable.ts';
import { QUIET } from '../broker/daemon.ts';
import { type InProcessOptions, temporaryBroker } from '../broker/in-process.ts';
import type { FleetSpec, Hooks, QubeSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { askingBroker, HOSTILE } from './asking.ts';

const SERVICE = 'qmcp.SpawnDisposableAIManaged';
const GIB = 2 ** 30;
const NOT_FOUND = { ok: false, error: 'not found' };
const refusal = (error: string): object => ({ ok: false, error });
const FAILED = refusal('disposable creation failed');
const ROLLED_BACK = refusal('birth stamp failed (rolled back)');
const MADE = ['admin.vm.CreateDisposable', 'ai-dvmt'];

const withDvmt = (spec: QubeSpec, hooks: Hooks = {}, fail: FleetSpec['fail'] = {}): FleetSpec => {
  const dvmt = FLEET_F0.qubes['ai-dvmt'];
  const qubes = { ...FLEET_F0.qubes, 'ai-dvmt': { ...dvmt, ...spec, props: { ...dvmt?.props, ...spec.props } } };
  return { ...FLEET_F0, qubes, hooks, fail };
};

const spawning = async (options: InProcessOptions = {}, template: unknown = 'ai-dvmt') => {
  const broker = await temporaryBroker(options);
  broker.qubesd.reset();
  return { broker, reply: await broker.call(SERVICE, { template }), changes: broker.qubesd.changes() };
};

describe('a request', () => {
  test.each<[string, unknown]>([
    ['that is no object', [1]],
    ['without a template', {}],
    ['with a null template', { template: null }],
    ['with an empty template', { template: '' }],
    ['with a list', { template: ['ai-dvmt'] }],
    ['with a number', { template: 5 }],
  ])('%s is not found, without a call', async (_, body) => {
    const broker = await temporaryBroker();
    broker.qubesd.reset();
    expect(await broker.call(SERVICE, body)).toEqual(NOT_FOUND);
    expect(broker.qubesd.calls).toEqual([]);
  });

  test('that is not JSON is told so', async () => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, '{')).toEqual(refusal('invalid JSON input'));
  });

  test.each(['ghost', 'vault', 'dom0', 'ai-dvmt\n', 'ai-dvmt\u0000'])('for %j is not found', async (template) => {
    const { reply, changes } = await spawning({}, template);
    expect([reply, changes]).toEqual([NOT_FOUND, []]);
  });

  test.each<[string, InProcessOptions]>([
    ['below its tier', { fleet: withDvmt({ tags: ['ai-managed', 'ai-net'] }) }],
    ['that would be asked, with nobody there', { operatorFiles: { ...QUIET, 'consent-policy': '*\n' } }],
  ])('%s is not found', async (_, options) => {
    const { reply, changes } = await spawning(options);
    expect([reply, changes]).toEqual([NOT_FOUND, []]);
  });
});

describe('the order of the checks:', () => {
  const outOfScope = withDvmt({ props: { netvm: 'sys-whonix' } });
  const shape = "template 'ai-work' must have template_for_dispvms=True to be a DispVM source (klass is AppVM)";
  test.each<[string, string, string, InProcessOptions]>([
    ['no disposable template, before the caps', 'ai-work', shape, { operatorFiles: {} }],
    ['no pool cap, before the network', 'ai-dvmt', 'pool cap not configured', { fleet: outOfScope, operatorFiles: {} }],
    ['a full pool', 'ai-dvmt', 'pool cap exceeded', { operatorFiles: { 'pool-cap': String(40 * GIB - 1) } }],
    ['a network out of scope', 'ai-dvmt', 'birth egress could not be resolved', { fleet: outOfScope }],
    ['qubesd away', 'ai-dvmt', 'qubesadmin unavailable', { qubesd: false }],
    [
      'a template whose size cannot be read',
      'ai-dvmt',
      'pool stats unavailable',
      { fleet: withDvmt({}, {}, { 'admin.vm.volume.Info+private@ai-dvmt': 'empty' }) },
    ],
    [
      'a template whose flag cannot be read',
      'ai-dvmt',
      shape.replace('ai-work', 'ai-dvmt'),
      { fleet: withDvmt({}, {}, { 'admin.vm.property.Get+template_for_dispvms@ai-dvmt': 'empty' }) },
    ],
  ])('%s', async (_, template, error, options) => {
    const { reply, changes } = await spawning(options, template);
    expect([reply, changes]).toEqual([refusal(error), []]);
  });

  test('a pool that is exactly full afterwards will do', async () => {
    const { reply } = await spawning({ operatorFiles: { 'pool-cap': String(40 * GIB), 'consent-policy': '' } });
    expect(reply).toEqual({ ok: true, name: 'disp1234' });
  });
});

describe('a disposable', () => {
  test('is made, stamped and pinned in this order, and halted', async () => {
    const { broker, reply, changes } = await spawning();
    expect(reply).toEqual({ ok: true, name: 'disp1234' });
    expect(changes).toEqual([
      MADE,
      ['admin.vm.tag.Set+qmcp-owner_mcp-control', 'disp1234'],
      ['admin.vm.property.Set+netvm', 'disp1234', 'ai-net-router'],
    ]);
    const { uuid, state } = broker.world.qube('disp1234');
    expect(state).toBe('Halted');
    for (const { method, arg, rawDest } of broker.qubesd.calls) {
      if (method === 'admin.vm.tag.Set' || arg === 'netvm') expect(rawDest).toMatch(/^(?:uuid:|mcp-control$)/);
      if (method === 'admin.vm.tag.Set') expect(rawDest).toBe(`uuid:${uuid}`);
    }
  });

  test('is found again by the uuids that were there before, and by its own as soon as it has one', async () => {
    const other: QubeSpec = { klass: 'DispVM', props: { template: 'ai-dvmt' } };
    const fleet = { ...FLEET_F0, qubes: { ...FLEET_F0.qubes, disp1: other } };
    const { broker } = await spawning({ fleet });
    const steps = (await broker.lines()).filter(({ type }) => type === 'step');
    expect(steps.map(({ step }) => step)).toEqual(['create', 'inspect', 'stamp', 'pin', 'complete']);
    expect(steps[0]).toMatchObject({ qube: null, known: [broker.world.qube('disp1').uuid] });
    expect(steps[1]).toMatchObject({ qube: { name: 'disp1234', uuid: broker.world.qube('disp1234').uuid } });
  });

  test.each([
    [MAX_KNOWN, MAX_KNOWN],
    [MAX_KNOWN + 1, undefined],
  ])('among %d others has %s of them journalled', async (count, known) => {
    const names = Array.from({ length: count }, (_, index): [string, QubeSpec] => [
      `disp${index}`,
      { klass: 'DispVM' },
    ]);
    const fleet = { ...FLEET_F0, qubes: { ...FLEET_F0.qubes, ...Object.fromEntries(names) } };
    const { broker, reply } = await spawning({ fleet });
    expect(reply).toMatchObject({ ok: true });
    const create = (await broker.lines()).find(({ step }) => step === 'create') as { known?: string[] };
    expect(create.known?.length).toBe(known);
  });

  test('has no tier above the ceiling, its own owner, and nothing that only its template is', async () => {
    const fleet = withDvmt({ tags: ['ai-managed', 'ai-full', 'qmcp-owner_other', 'qmcp-x', 'anon-vm'] });
    const { broker } = await spawning({ fleet, operatorFiles: { ...QUIET, 'birth-ceiling': 'ai-net\n' } });
    expect([...broker.world.qube('disp1234').tags].sort()).toEqual([
      'ai-managed',
      'ai-net',
      'anon-vm',
      'created-by-dom0',
      'disp-created-by-dom0',
      'qmcp-owner_mcp-control',
    ]);
  });

  test('of a template without a network has none', async () => {
    const { broker, reply } = await spawning({ fleet: withDvmt({ props: { netvm: null } }, { disp_netvm: 'vault' }) });
    expect(reply).toMatchObject({ ok: true });
    expect(broker.world.qube('disp1234').props.get('netvm')).toBeNull();
  });
});

describe('a disposable made in advance', () => {
  test.each<[string, FleetSpec]>([
    ['of a template that has them', withDvmt({ features: { 'preload-dispvm-max': '1' } })],
    ['of a template that has some left', withDvmt({ features: { 'preload-dispvm': 'disp5' } })],
    [
      'of a template of which that cannot be read',
      withDvmt({}, {}, { 'admin.vm.feature.List@ai-dvmt': ['QubesException', 'x'] }),
    ],
    [
      'of a template whose feature cannot be read',
      withDvmt({ features: { 'preload-dispvm-max': '0' } }, {}, { 'admin.vm.feature.Get@ai-dvmt': 'empty' }),
    ],
  ])('is not even ordered: %s', async (_, fleet) => {
    const { reply, changes } = await spawning({ fleet });
    expect([reply, changes]).toEqual([FAILED, []]);
  });

  test('is not even ordered where dom0 has them for the default template, and this may be it', async () => {
    const fleet = withDvmt({});
    const dom0 = { ...fleet.qubes.dom0, features: { 'preload-dispvm-max': '2' } };
    const { reply, changes } = await spawning({ fleet: { ...fleet, qubes: { ...fleet.qubes, dom0 } } });
    expect([reply, changes]).toEqual([FAILED, []]);
  });

  test.each(['0', ''])('is none where the feature is %j', async (value) => {
    const { reply } = await spawning({ fleet: withDvmt({ features: { 'preload-dispvm-max': value } }) });
    expect(reply).toEqual({ ok: true, name: 'disp1234' });
  });

  test('that comes back running is killed and removed', async () => {
    const { broker, reply, changes } = await spawning({ fleet: withDvmt({}, { disp_state: 'Running' }) });
    expect(reply).toEqual(ROLLED_BACK);
    expect(changes.slice(0, 2)).toEqual([MADE, ['admin.vm.Kill', 'disp1234']]);
    expect(broker.world.qubes.has('disp1234')).toBe(false);
  });
});

describe('what goes wrong on the way', () => {
  test.each<[string, Hooks]>([
    ['a stamp that does not stick', { drop_tag: ['qmcp-owner_mcp-control'] }],
    ['a network that does not stick', { disp_netvm: 'sys-whonix', netvm_ignored: 1 }],
  ])('%s leaves nothing, by Remove', async (_, hooks) => {
    const { broker, reply, changes } = await spawning({ fleet: withDvmt({}, hooks) });
    expect(reply).toEqual(ROLLED_BACK);
    expect(changes.at(-1)).toEqual(['admin.vm.Remove', 'disp1234']);
    expect(changes.map(([method]) => method)).not.toContain('admin.vm.Kill');
    expect(broker.world.qubes.has('disp1234')).toBe(false);
  });

  test('a failure that cannot be rolled back names the disposable and nothing else', async () => {
    const fail = {
      'admin.vm.property.Set+netvm@disp1234': ['QubesException', 'vault is not a network'] as const,
      'admin.vm.Remove@disp1234': ['QubesException', 'vault'] as const,
    };
    const { reply } = await spawning({ fleet: withDvmt({}, {}, fail) });
    expect(reply).toEqual(
      refusal("birth stamp failed AND rollback failed; manual cleanup of qube 'disp1234' required in dom0"),
    );
  });

  test('an answer that names none leaves nothing', async () => {
    const { reply, changes } = await spawning({ fleet: withDvmt({}, { disp_name: '' }) });
    expect([reply, changes]).toEqual([FAILED, [MADE]]);
  });

  test.each([2, 3, 6, 9])('an answer cut to %d bytes, and so the name in it, leaves nothing', async (cut) => {
    const broker = await temporaryBroker();
    broker.qubesd.faults.inject({ method: 'admin.vm.CreateDisposable', fault: { cut } });
    expect(await broker.call(SERVICE, { template: 'ai-dvmt' })).toEqual(FAILED);
    expect(broker.qubesd.changes()).toEqual([MADE, ['admin.vm.Remove', 'disp1234']]);
  });

  test('an answer that names a disposable that was there before leaves that one alone and nothing behind', async () => {
    const old: QubeSpec = {
      klass: 'DispVM',
      tags: ['ai-managed'],
      props: { template: 'ai-dvmt', auto_cleanup: 'True' },
    };
    const broker = await temporaryBroker({ fleet: { ...FLEET_F0, qubes: { ...FLEET_F0.qubes, disp5: old } } });
    const { uuid } = broker.world.qube('disp5');
    broker.qubesd.onDone = ({ method }) => {
      if (method !== 'admin.vm.CreateDisposable') return;
      // The old one has got the name of the answer, and the new one another.
      broker.world.remove('disp5');
      broker.world.recreate('disp1234', { ...old, uuid });
      broker.world.add('disp99', old);
    };
    expect(await broker.call(SERVICE, { template: 'ai-dvmt' })).toEqual(FAILED);
    expect(broker.world.qube('disp1234').uuid).toBe(uuid);
    expect(broker.world.qubes.has('disp99')).toBe(false);
  });
});

test('the question says of what, on which network, and that nothing stays', async () => {
  const { broker, questions } = await askingBroker();
  expect(await broker.call(SERVICE, { template: 'ai-dvmt' })).toEqual({ ok: true, name: 'disp1234' });
  for (const template of HOSTILE) await broker.call(SERVICE, { template });
  expect(questions().map(({ view }) => view)).toMatchObject([
    {
      risk: 'change',
      type_to_confirm: null,
      lines: [
        'Create a disposable of ai-dvmt (gray)',
        'Asked by: mcp-control (gray), default agent',
        'Network: ai-net-router (red)',
        'Agents may: run programs in it, change it and remove it',
        'It is gone, with everything in it, when it stops.',
      ],
    },
  ]);
});

test('nobody starts it before it is pinned, although it has the umbrella from its birth', async () => {
  const broker = await temporaryBroker();
  const pinning = broker.qubesd.nextCall('admin.vm.property.Set+netvm');
  broker.qubesd.faults.inject({ method: 'admin.vm.property.Set+netvm', fault: 'hang' });
  const spawned = broker.call(SERVICE, { template: 'ai-dvmt' });
  await pinning;
  expect(broker.world.qube('disp1234').tags.has('ai-managed')).toBe(true);
  const start = { name: 'disp1234', action: 'start' };
  expect(await broker.call('qmcp.LifecycleAIManaged', start)).toEqual(NOT_FOUND);
  broker.qubesd.release();
  expect(await spawned).toEqual({ ok: true, name: 'disp1234' });
  expect(await broker.call('qmcp.LifecycleAIManaged', start)).toEqual({ ok: true });
});

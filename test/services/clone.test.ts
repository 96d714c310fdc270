import { describe, expect, test } from 'vitest';
import { QUIET } from '../broker/daemon.ts';
import { type InProcessOptions, temporaryBroker } from '../broker/in-process.ts';
import type { FleetSpec, Hooks, QubeSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { askingBroker, HOSTILE } from './asking.ts';

const SERVICE = 'qmcp.CloneAIManagedQube';
const GIB = 2 ** 30;
const NOT_FOUND = { ok: false, error: 'not found' };
const NAME = 'name must be alphanumeric + dashes, 1-31 chars, starting with alphanumeric';
const refusal = (error: string): object => ({ ok: false, error });
const DONE = { ok: true, name: 'ai-copy' };
const request = (changes: object = {}): object => ({ source: 'ai-idle', name: 'ai-copy', ...changes });

const withQubes = (qubes: Record<string, QubeSpec>, hooks: Hooks = {}, fail: FleetSpec['fail'] = {}): FleetSpec => {
  const merged = Object.entries(qubes).map(([name, spec]): [string, QubeSpec] => {
    const known = FLEET_F0.qubes[name];
    return [name, { ...known, ...spec, props: { ...known?.props, ...spec.props } }];
  });
  return { ...FLEET_F0, qubes: { ...FLEET_F0.qubes, ...Object.fromEntries(merged) }, hooks, fail };
};
const source = (spec: QubeSpec, hooks?: Hooks, fail?: FleetSpec['fail']): FleetSpec =>
  withQubes({ 'ai-idle': spec }, hooks, fail);

const cloning = async (options: InProcessOptions = {}, changes: object = {}) => {
  const broker = await temporaryBroker(options);
  broker.qubesd.reset();
  return { broker, reply: await broker.call(SERVICE, request(changes)), changes: broker.qubesd.changes() };
};

describe('a request of the wrong shape gets its own text, without a call:', () => {
  test.each<[string, unknown, string]>([
    ['not JSON', '{', 'invalid JSON input'],
    ['no object', [1], NAME],
    ['no name', { source: 'ai-idle' }, NAME],
    ['a null name', request({ name: null }), NAME],
    ['a list for a name', request({ name: ['ai-copy'] }), NAME],
    ['a name with a newline', request({ name: 'ai-copy\n' }), NAME],
    [
      'a name outside the namespace, before the source',
      { name: 'copy' },
      "name must start with 'ai-' — that namespace is reserved for AI-created qubes",
    ],
    ['the namespace alone', { name: 'ai-' }, "name must have something after the reserved 'ai-' prefix"],
    ['no source', { name: 'ai-copy' }, 'not found'],
    ['a null source', request({ source: null }), 'not found'],
    ['an empty source', request({ source: '' }), 'not found'],
    ['a list for a source', request({ source: ['ai-idle'] }), 'not found'],
  ])('%s', async (_, body, error) => {
    const broker = await temporaryBroker();
    broker.qubesd.reset();
    expect(await broker.call(SERVICE, body)).toEqual(refusal(error));
    expect(broker.qubesd.calls).toEqual([]);
  });
});

describe('the order of the checks:', () => {
  test.each<[string, object, string, InProcessOptions]>([
    ['a missing source, before the name that is taken', { source: 'ghost', name: 'ai-work' }, 'not found', {}],
    ['an unmanaged source', { source: 'vault' }, 'not found', {}],
    ['a source below its tier', { source: 'ai-net1' }, 'not found', {}],
    ['an unanswered question', {}, 'not found', { operatorFiles: { ...QUIET, 'consent-policy': '*\n' } }],
    ['a name that is taken', { name: 'ai-secret' }, "qube 'ai-secret' already exists", {}],
    ['a template', { source: 'ai-debian-13' }, 'clone of a TemplateVM is operator-only', { operatorFiles: {} }],
    [
      'a standalone qube',
      {},
      'clone of a StandaloneVM is operator-only',
      { fleet: source({ klass: 'StandaloneVM', props: { netvm: 'vault' } }) },
    ],
    [
      'a network out of scope, before the caps',
      { source: 'ai-tor' },
      'birth egress could not be resolved',
      { operatorFiles: {} },
    ],
    ['no pool cap', {}, 'pool cap not configured', { operatorFiles: {} }],
    ['a full pool', {}, 'pool cap exceeded', { operatorFiles: { 'pool-cap': String(40 * GIB - 1) } }],
    [
      'volumes that cannot be read',
      {},
      'pool stats unavailable',
      { fleet: source({}, {}, { 'admin.vm.volume.Info@ai-idle': 'empty' }) },
    ],
    [
      'settings that cannot be read',
      {},
      'clone failed',
      { fleet: source({}, {}, { 'admin.vm.firewall.Get@ai-idle': 'empty' }) },
    ],
    ['qubesd away', {}, 'qubesadmin unavailable', { qubesd: false }],
  ])('%s', async (_, changes, error, options) => {
    const { reply, changes: made } = await cloning(options, changes);
    expect([reply, made]).toEqual([refusal(error), []]);
  });

  test('a pool that is exactly full afterwards will do', async () => {
    const files = { ...QUIET, 'pool-cap': String(38 * GIB + 4 * GIB + 2 * GIB) };
    const fleet = source({ volumes: { private: 4 * GIB } });
    // 9 qubes, one of them with 4 GiB instead of 2, and a root of 20: 40 GiB.
    expect((await cloning({ fleet, operatorFiles: files })).reply).toEqual(DONE);
    const oneLess = { ...QUIET, 'pool-cap': String(44 * GIB - 1) };
    expect((await cloning({ fleet, operatorFiles: oneLess })).reply).toEqual(refusal('pool cap exceeded'));
  });
});

describe('a clone', () => {
  const RICH: QubeSpec = {
    tags: ['ai-managed', 'ai-full', 'qmcp-owner_other', 'qmcp-guarded', 'qmcp-x', 'anon-vm', 'mine', 'created-by-x'],
    state: 'Running',
    props: {
      label: 'blue',
      memory: '800',
      maxmem: '2000',
      vcpus: '4',
      kernelopts: 'quiet',
      default_user: 'me',
      default_dispvm: 'ai-dvmt',
      template_for_dispvms: 'True',
      provides_network: 'True',
      autostart: 'True',
      debug: 'True',
      guivm: 'vault',
      audiovm: 'vault',
      management_dispvm: 'ai-dvmt',
      devices_denied: 'b******',
    },
    features: {
      'ai-note': 'x',
      'menu-items': 'a b',
      audiovm: 'ai-work',
      guivm: 'vault',
      internal: '1',
      'qmcp-x': '1',
      'gui-allow-fullscreen': '1',
      'preload-dispvm-max': '2',
      'service.x': '1',
      'service.y': '',
    },
    firewall: 'action=accept dst4=10.0.0.1/32\naction=drop\n',
    volumes: { private: 5 * GIB },
    devices: { 'block.Assigned': ['sys-usb+sda required=yes'], 'pci.Assigned': ['dom0+00_14.0 required=yes'] },
  };

  test('takes over what is listed and nothing else', async () => {
    const files = { ...QUIET, 'features-allowed': 'service.x\n' };
    const { broker, reply } = await cloning({ fleet: source(RICH), operatorFiles: files });
    expect(reply).toEqual(DONE);
    const copy = broker.world.qube('ai-copy');
    expect(copy.klass).toBe('AppVM');
    expect(Object.fromEntries(copy.props)).toEqual({
      template: 'ai-debian-13',
      netvm: 'ai-net-router',
      label: 'blue',
      memory: '800',
      maxmem: '2000',
      vcpus: '4',
      kernelopts: 'quiet',
      default_user: 'me',
      default_dispvm: 'ai-dvmt',
      template_for_dispvms: 'True',
      devices_denied: 'b******',
    });
    expect(Object.fromEntries(copy.features)).toEqual({
      'ai-note': 'x',
      'menu-items': 'a b',
      audiovm: 'ai-work',
      'service.x': '1',
    });
    expect(copy.firewall).toBe(RICH.firewall);
    expect(copy.volumes.get('private')).toBe(5 * GIB);
    expect([...copy.devices]).toEqual([]);
    expect([...copy.tags].sort()).toEqual([
      'ai-full',
      'ai-managed',
      'anon-vm',
      'created-by-dom0',
      'mine',
      'qmcp-guarded',
      'qmcp-owner_mcp-control',
    ]);
  });

  test('is pinned and has its rules and its files before it is anybody’s', async () => {
    const { changes } = await cloning({ fleet: source(RICH) });
    const methods = changes.map(([method]) => method.replace(/\+.*/, ''));
    const order = methods.filter((method, index) => method !== methods[index - 1]);
    expect(order).toEqual([
      'admin.vm.Create.AppVM',
      'admin.vm.property.Set',
      'admin.vm.firewall.Set',
      'admin.vm.property.Set',
      'admin.vm.feature.Set',
      'admin.vm.volume.CloneTo',
      'admin.vm.tag.Set',
    ]);
    expect(changes[1]).toEqual(['admin.vm.property.Set+netvm', 'ai-copy', 'ai-net-router']);
  });

  test('of a disposable is a disposable of the same template, without what that one gave it', async () => {
    const named: QubeSpec = {
      klass: 'DispVM',
      tags: ['ai-managed'],
      state: 'Running',
      props: { template: 'ai-dvmt', netvm: 'ai-tor', auto_cleanup: 'True' },
    };
    const fleet = withQubes({ 'ai-dvmt': { tags: ['ai-managed', 'ai-full', 'qmcp-guarded'] }, 'ai-named': named });
    const { broker, reply, changes } = await cloning({ fleet }, { source: 'ai-named' });
    expect(reply).toEqual(DONE);
    const { klass, tags, props } = broker.world.qube('ai-copy');
    expect(klass).toBe('DispVM');
    expect([...tags].sort()).toEqual(['ai-managed', 'created-by-dom0', 'qmcp-owner_mcp-control']);
    expect([props.get('template'), props.get('netvm'), props.get('auto_cleanup')]).toEqual([
      'ai-dvmt',
      'ai-tor',
      undefined,
    ]);
    expect(changes.map(([method]) => method)).not.toContain('admin.vm.volume.CloneTo+private');
  });

  test('of a disposable is nobody’s until it is whole, too', async () => {
    const named: QubeSpec = {
      klass: 'DispVM',
      tags: ['ai-managed'],
      props: { template: 'ai-dvmt', netvm: 'ai-tor', vcpus: '4' },
    };
    const broker = await temporaryBroker({ fleet: withQubes({ 'ai-named': named }) });
    const seen = new Map<string, boolean>();
    broker.qubesd.onCall = ({ row: [call], name }) => {
      const copy = broker.world.qubes.get('ai-copy');
      if (copy && name === 'ai-copy') seen.set(call, copy.tags.has('ai-managed'));
    };
    expect(await broker.call(SERVICE, request({ source: 'ai-named' }))).toEqual(DONE);
    expect(seen.get('admin.vm.property.Set+netvm')).toBe(false);
    expect(seen.get('admin.vm.property.Set+vcpus')).toBe(false);
  });

  test.each([
    ['ai-dvmt', 'ai-dvmt'],
    ['vault', null],
    [null, null],
  ])('of a source whose disposables come of %j has %j for that', async (of, expected) => {
    const { broker } = await cloning({ fleet: source({ props: { default_dispvm: of } }) });
    expect(broker.world.qube('ai-copy').props.get('default_dispvm')).toBe(expected);
  });

  test('leaves to the platform what its source leaves to it', async () => {
    const { broker } = await cloning();
    expect([...broker.world.qube('ai-copy').props.keys()].sort()).toEqual(['label', 'netvm', 'template']);
  });

  test('lets nothing through where its source lets nothing through', async () => {
    const { broker } = await cloning({ fleet: source({ firewall: '' }) });
    expect(broker.world.qube('ai-copy').firewall).toBe('action=drop\n');
  });

  test('of a qube with a label of the operator’s own has the least trusted one', async () => {
    const { broker } = await cloning({ fleet: source({ props: { label: 'pink' } }) });
    expect(broker.world.qube('ai-copy').props.get('label')).toBe('red');
  });

  test('is charged like its source and clamped to the ceiling', async () => {
    const { broker } = await cloning({ fleet: source(RICH), operatorFiles: { ...QUIET, 'birth-ceiling': 'ai-ro\n' } });
    expect([...broker.world.qube('ai-copy').tags].filter((tag) => tag.startsWith('ai-'))).toEqual(['ai-managed']);
  });
});

describe('what goes wrong on the way', () => {
  const refused = ['QubesException', 'vault'] as const;
  test.each<[string, FleetSpec, string]>([
    ['a creation that is refused', source({}, {}, { 'admin.vm.Create.AppVM@dom0': refused }), 'clone failed'],
    ['a network that does not stick', source({}, { netvm_ignored: 1 }), 'birth stamp failed (rolled back)'],
    ['a stamp that does not stick', source({}, { drop_tag: ['ai-managed'] }), 'birth stamp failed (rolled back)'],
    [
      'a foreign tag that does not stick',
      source({ tags: ['ai-managed', 'mine'] }, { drop_tag: ['mine'] }),
      'birth stamp failed (rolled back)',
    ],
    ['files that cannot be copied', source({}, {}, { 'admin.vm.volume.CloneTo@ai-copy': refused }), 'clone failed'],
    ['files that cannot be offered', source({}, {}, { 'admin.vm.volume.CloneFrom@ai-idle': refused }), 'clone failed'],
    [
      'a property that is refused',
      source({ props: { memory: '800' } }, {}, { 'admin.vm.property.Set+memory@ai-copy': refused }),
      'clone failed',
    ],
    [
      'rules that are refused',
      source({ firewall: 'action=drop\n' }, {}, { 'admin.vm.firewall.Set@ai-copy': refused }),
      'clone failed',
    ],
  ])('%s leaves nothing', async (_, fleet, error) => {
    const { broker, reply } = await cloning({ fleet });
    expect(reply).toEqual(refusal(error));
    expect(broker.world.qubes.has('ai-copy')).toBe(false);
  });

  test('rules that do not stick leave nothing', async () => {
    const broker = await temporaryBroker({ fleet: source({ firewall: 'action=drop\n' }) });
    broker.qubesd.onDone = ({ method, name }) => {
      if (method === 'admin.vm.firewall.Set') broker.world.setFirewall(name, 'action=accept\n');
    };
    expect(await broker.call(SERVICE, request())).toEqual(refusal('clone failed'));
    expect(broker.world.qubes.has('ai-copy')).toBe(false);
  });

  test.each([
    ['admin.vm.volume.CloneTo', 'clone failed'],
    ['admin.vm.tag.Set', 'birth stamp failed'],
  ])('a failed %s that cannot be rolled back says so', async (method, label) => {
    const fail = { [`${method}@ai-copy`]: refused, 'admin.vm.Remove@ai-copy': refused };
    const { reply, broker } = await cloning({ fleet: source({}, {}, fail) });
    expect(reply).toEqual(refusal(`${label} AND rollback failed; manual cleanup of qube 'ai-copy' required in dom0`));
    expect(broker.world.qube('ai-copy').tags.has('ai-managed')).toBe(false);
    expect(broker.world.qube('ai-copy').props.get('netvm')).toBe('ai-net-router');
  });
});

describe('the question', () => {
  test('says of what, how much is copied, and what is not', async () => {
    const { broker, questions } = await askingBroker();
    expect(await broker.call(SERVICE, request())).toEqual(DONE);
    expect(questions().map(({ view }) => view)).toMatchObject([
      {
        risk: 'change',
        type_to_confirm: null,
        lines: [
          'Clone ai-idle (gray) as ai-copy (gray)',
          'Asked by: mcp-control (gray), default agent',
          'Kind: AppVM',
          'Template: ai-debian-13 (black)',
          'Network: ai-net-router (red)',
          'Its own data: a copy of 2.0 GiB',
          'Agents may: run programs in it, change it and remove it',
          'Settings and firewall rules are copied, device assignments are not.',
        ],
      },
    ]);
  });

  test('is void when the source’s settings changed while it was open', async () => {
    const { broker, approver } = await askingBroker();
    approver.reflex = (asked) => {
      broker.world.silently(() => broker.world.setFirewall('ai-idle', 'action=drop\n'));
      asked.approve();
    };
    expect(await broker.call(SERVICE, request())).toEqual(NOT_FOUND);
    expect(broker.world.qubes.has('ai-copy')).toBe(false);
  });

  test('is not asked for hostile names', async () => {
    const { broker, questions } = await askingBroker();
    for (const text of HOSTILE) {
      await broker.call(SERVICE, request({ name: text }));
      await broker.call(SERVICE, request({ source: text }));
    }
    expect(questions()).toEqual([]);
  });
});

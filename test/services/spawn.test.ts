import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEADLINES } from '../../daemon/qubesadmin/client.ts';
import { LEAST_CHARGE } from '../../daemon/services/budget.ts';
import { QUIET } from '../broker/daemon.ts';
import { type InProcessOptions, openBroker, temporaryBroker } from '../broker/in-process.ts';
import type { FleetSpec, QubeSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import type { World } from '../qubesd/world.ts';
import { askingBroker, HOSTILE } from './asking.ts';

const SERVICE = 'qmcp.SpawnAIManagedQube';
const GIB = 2 ** 30;
const NAME = 'name must be alphanumeric + dashes, 1-31 chars, starting with alphanumeric';
const LABEL = "label must be one of: ['black', 'blue', 'gray', 'green', 'orange', 'purple', 'red', 'yellow']";
const KLASS = "klass must be one of: ['AppVM', 'DispVM', 'DispVMTemplate']";
const SIZE = 'private_size must be an integer number of bytes';
const OPAQUE = 'template must reference an ai-managed qube';

const request = (changes: object = {}): object => ({ name: 'ai-new', template: 'ai-debian-13', ...changes });
const refusal = (error: string): object => ({ ok: false, error });

const patched = (patch: Record<string, QubeSpec>, more: Partial<FleetSpec> = {}): FleetSpec => {
  const qubes: Record<string, QubeSpec> = { ...FLEET_F0.qubes };
  for (const [name, spec] of Object.entries(patch)) {
    qubes[name] = { ...qubes[name], ...spec, props: { ...qubes[name]?.props, ...spec.props } };
  }
  return { ...FLEET_F0, ...more, qubes };
};
const MADE = ['admin.vm.Create.AppVM+ai-debian-13', 'dom0', 'name=ai-new label=gray'];
const STAMPED = [
  ['admin.vm.tag.Set+ai-managed', 'ai-new'],
  ['admin.vm.tag.Set+qmcp-owner_mcp-control', 'ai-new'],
];
const PINNED = ['admin.vm.property.Set+netvm', 'ai-new', 'ai-net-router'];

const spawning = async (options: InProcessOptions, changes: object = {}) => {
  const broker = await temporaryBroker(options);
  broker.qubesd.reset();
  return { broker, reply: await broker.call(SERVICE, request(changes)), changes: broker.qubesd.changes() };
};

describe('a request of the wrong shape gets its own text, without a call:', () => {
  test.each<[string, unknown, string]>([
    ['not JSON', '{', 'invalid JSON input'],
    ['no object', [1], NAME],
    ['null', null, NAME],
    ['no name', { template: 'ai-debian-13' }, NAME],
    ['a null name', request({ name: null }), NAME],
    ['a number for a name', request({ name: 5 }), NAME],
    ['a list for a name', request({ name: ['ai-new'] }), NAME],
    ['an empty name', request({ name: '' }), NAME],
    ['a name of 32 characters', request({ name: `ai-${'x'.repeat(29)}` }), NAME],
    ['a trailing newline', request({ name: 'ai-new\n' }), NAME],
    ['a NUL', request({ name: 'ai-\u0000' }), NAME],
    ['look-alike letters', request({ name: '\u0430i-new' }), NAME],
    ['a leading dash', request({ name: '-ai-new' }), NAME],
    ['a dot', request({ name: 'ai-n.w' }), NAME],
    ['a name before a klass', request({ name: 5, klass: 5 }), NAME],
    ['an unknown klass', request({ klass: 'TemplateVM' }), KLASS],
    ['a null klass', request({ klass: null }), KLASS],
    ['a list for a klass', request({ klass: ['AppVM'] }), KLASS],
    ['a klass before a label', request({ klass: 5, label: 5 }), KLASS],
    ['an unknown label', request({ label: 'pink' }), LABEL],
    ['a null label', request({ label: null }), LABEL],
    ['a label before a size', request({ label: 5, private_size: 'x' }), LABEL],
    ['a text for a size', request({ private_size: '5' }), SIZE],
    ['a fraction', request({ private_size: 1.5 }), SIZE],
    ['a truth value', request({ private_size: true }), SIZE],
    ['more than any number', `{"name":"ai-new","template":"ai-debian-13","private_size":1e999}`, SIZE],
    ['no bytes', request({ private_size: 0 }), 'private_size must be a positive number of bytes'],
    ['fewer than none', request({ private_size: -1 }), 'private_size must be a positive number of bytes'],
    [
      'a name outside the namespace',
      request({ name: 'work' }),
      "name must start with 'ai-' — that namespace is reserved for AI-created qubes",
    ],
    ['the namespace alone', request({ name: 'ai-' }), "name must have something after the reserved 'ai-' prefix"],
  ])('%s', async (_, body, error) => {
    const broker = await temporaryBroker();
    broker.qubesd.reset();
    expect(await broker.call(SERVICE, body)).toEqual(refusal(error));
    expect(broker.qubesd.calls).toEqual([]);
  });

  test('duplicate keys: the last one counts', async () => {
    const broker = await temporaryBroker();
    const body = '{"name":"ai-a","name":"ai-b","template":"ai-debian-13"}';
    expect(await broker.call(SERVICE, body)).toEqual({ ok: true, name: 'ai-b' });
  });
});

describe('the order of the checks:', () => {
  test.each<[string, object, string, InProcessOptions]>([
    [
      'a name that is taken, before the template',
      { name: 'ai-work', template: 'ghost' },
      "qube 'ai-work' already exists",
      {},
    ],
    ['a name that an unmanaged qube has', { name: 'ai-secret' }, "qube 'ai-secret' already exists", {}],
    ['no template', { template: undefined }, OPAQUE, {}],
    ['a list for a template', { template: ['ai-debian-13'] }, OPAQUE, {}],
    ['an unmanaged template', { template: 'fedora-43' }, OPAQUE, {}],
    ['a missing template', { template: 'ghost' }, OPAQUE, {}],
    ['a template below its tier, before its shape', { template: 'ai-exec1' }, OPAQUE, {}],
    ['an unanswered question', {}, OPAQUE, { operatorFiles: { ...QUIET, 'consent-policy': '*\n' } }],
    [
      'a template that is none, before the network',
      { template: 'ai-work', netvm: 'ghost' },
      "template 'ai-work' must be a TemplateVM for klass=AppVM (klass is AppVM)",
      {},
    ],
    [
      'a disposable of no disposable template',
      { template: 'ai-work', klass: 'DispVM' },
      "template 'ai-work' must have template_for_dispvms=True to be a DispVM source (klass is AppVM)",
      {},
    ],
    ['a network that is empty', { netvm: '' }, 'netvm must reference an ai-managed qube', {}],
    ['a network that is unmanaged', { netvm: 'sys-firewall' }, 'netvm must reference an ai-managed qube', {}],
    ['a number for a network', { netvm: 5 }, 'netvm must reference an ai-managed qube', {}],
    [
      'another network, before the caps',
      { netvm: 'ai-tor', private_size: GIB },
      'netvm must match the inherited birth egress',
      { operatorFiles: {} },
    ],
    ['no private cap, before the pool cap', { private_size: GIB }, 'private cap not configured', { operatorFiles: {} }],
    ['a size above the private cap', { private_size: 53_687_091_201 }, 'private size exceeds per-qube limit', {}],
    ['no pool cap', {}, 'pool cap not configured', { operatorFiles: {} }],
    ['a full pool', {}, 'pool cap exceeded', { operatorFiles: { 'pool-cap': String(40 * GIB - 1) } }],
    ['qubesd away', {}, 'qubesadmin unavailable', { qubesd: false }],
  ])('%s', async (_, changes, error, options) => {
    const { reply, changes: made } = await spawning(options, changes);
    expect(reply).toEqual(refusal(error));
    expect(made).toEqual([]);
  });

  test('volumes that cannot be read leave the room unknown', async () => {
    const fleet = patched({}, { fail: { 'admin.vm.volume.Info+private@ai-work': ['StoragePoolException', 'x'] } });
    expect((await spawning({ fleet })).reply).toEqual(refusal('pool stats unavailable'));
  });

  test('a size of exactly the private cap and a pool that is exactly full afterwards will do', async () => {
    const files = { ...QUIET, 'pool-cap': String(88 * GIB) };
    const { reply } = await spawning({ operatorFiles: files }, { private_size: 50 * GIB });
    expect(reply).toEqual({ ok: true, name: 'ai-new' });
    const oneLess = { ...files, 'pool-cap': String(88 * GIB - 1) };
    const { reply: full } = await spawning({ operatorFiles: oneLess }, { private_size: 50 * GIB });
    expect(full).toEqual(refusal('pool cap exceeded'));
  });
});

describe('what is created', () => {
  test('is made, stamped and pinned in this order, by uuid', async () => {
    const { broker, reply, changes } = await spawning({});
    expect(reply).toEqual({ ok: true, name: 'ai-new' });
    expect(changes).toEqual([MADE, ...STAMPED, PINNED]);
    const { uuid } = broker.world.qube('ai-new');
    const made = broker.qubesd.calls.findIndex(({ method }) => method === 'admin.vm.Create.AppVM');
    // The network is looked at again, too: its name is all that qubesd was told of it.
    const later = broker.qubesd.calls.slice(made + 2).filter(({ name }) => name !== 'ai-net-router');
    expect(new Set(later.map(({ rawDest }) => rawDest))).toEqual(new Set([`uuid:${uuid}`]));
  });

  test('is journalled step by step, with its uuid as soon as it has one', async () => {
    const { broker } = await spawning({}, { private_size: 3 * GIB });
    const lines = await broker.lines();
    const { uuid } = broker.world.qube('ai-new');
    const steps = lines.filter(({ type }) => type === 'step');
    expect(steps.map(({ step }) => step)).toEqual(['create', 'stamp', 'pin', 'resize', 'complete']);
    expect(steps.map(({ qube }) => qube)).toEqual([null, ...Array(4).fill({ role: 'created', name: 'ai-new', uuid })]);
    const intent = lines.find(({ type }) => type === 'intent');
    expect(intent?.args).toEqual({
      name: 'ai-new',
      template: 'ai-debian-13',
      klass: 'AppVM',
      netvm: null,
      label: 'gray',
      private_size: 3 * GIB,
    });
  });

  test('loses the tags of the broker that the platform or its template gave it, and no others', async () => {
    const fleet = patched(
      { 'ai-dvmt': { tags: ['ai-managed', 'ai-full', 'ai-dump', 'qmcp-owner_other', 'theirs', 'qmcp-guarded'] } },
      { hooks: { extra_birth_tags: ['ai-net', 'qmcp-x', 'disp-1'] } },
    );
    const files = { ...QUIET, 'birth-ceiling': 'ai-exec\n', 'tier-default': 'ro\n' };
    const { broker, reply } = await spawning({ fleet, operatorFiles: files }, { template: 'ai-dvmt', klass: 'DispVM' });
    expect(reply).toEqual({ ok: true, name: 'ai-new' });
    expect([...broker.world.qube('ai-new').tags].sort()).toEqual([
      'ai-exec',
      'ai-managed',
      'created-by-dom0',
      'disp-1',
      'qmcp-guarded',
      'qmcp-owner_mcp-control',
      'theirs',
    ]);
  });

  test('has the owner that called', async () => {
    const broker = await temporaryBroker();
    await broker.call(SERVICE, request({ netvm: null }), 'other.control_1');
    expect([...broker.world.qube('ai-new').tags]).toContain('qmcp-owner_othercontrol_1');
  });

  test('gets its network whatever becomes of the flag that makes it a template', async () => {
    const fleet = patched(
      {},
      { fail: { 'admin.vm.property.Set+template_for_dispvms@ai-new': ['QubesException', 'x'] } },
    );
    const { broker, reply, changes } = await spawning({ fleet }, { klass: 'DispVMTemplate', private_size: 1 });
    expect(reply).toEqual({ ok: true, name: 'ai-new', warning: 'dispvm_template_flag_failed' });
    expect(changes.at(-1)).toEqual(PINNED);
    expect(broker.world.qube('ai-new').props.get('netvm')).toBe('ai-net-router');
  });

  test.each([
    [LEAST_CHARGE - 1, 'private_resize_failed', LEAST_CHARGE],
    [LEAST_CHARGE, undefined, LEAST_CHARGE],
    [LEAST_CHARGE + 1, undefined, LEAST_CHARGE + 1],
  ])('of %d bytes has the warning %s', async (size, warning, actual) => {
    const { broker, reply } = await spawning({}, { private_size: size });
    expect(reply).toEqual({ ok: true, name: 'ai-new', ...(warning === undefined ? {} : { warning }) });
    expect(broker.world.qube('ai-new').volumes.get('private')).toBe(actual);
  });

  test('is the only one of its name when two calls want it at once', async () => {
    const broker = await temporaryBroker();
    const templates = [{}, { template: 'ai-dvmt', klass: 'DispVM' }];
    const replies = await Promise.all(templates.map((changes) => broker.call(SERVICE, request(changes))));
    expect(replies).toEqual([{ ok: true, name: 'ai-new' }, refusal("qube 'ai-new' already exists")]);
  });

  test('does not overdraw the pool, however many services create at once', async () => {
    const broker = await temporaryBroker({ operatorFiles: { ...QUIET, 'pool-cap': String(41 * GIB) } });
    const calls: [string, object][] = [
      [SERVICE, request({ name: 'ai-a' })],
      [SERVICE, request({ name: 'ai-b', template: 'ai-dvmt', klass: 'DispVM' })],
      ['qmcp.SpawnDisposableAIManaged', { template: 'ai-dvmt' }],
      ['qmcp.CloneAIManagedQube', { source: 'ai-idle', name: 'ai-c' }],
    ];
    const replies = await Promise.all(calls.map(([service, body]) => broker.call(service, body)));
    const full = refusal('pool cap exceeded');
    expect(replies).toEqual([{ ok: true, name: 'ai-a' }, full, full, full]);
  });
});

describe('what goes wrong on the way', () => {
  const failing = (fail: FleetSpec['fail'], hooks: FleetSpec['hooks'] = {}) => patched({}, { fail: fail ?? {}, hooks });

  test.each<[string, FleetSpec, string]>([
    ['a stamp that does not stick', failing({}, { drop_tag: ['ai-managed'] }), 'tag application failed (rolled back)'],
    [
      'a tag that cannot be taken off',
      failing({}, { extra_birth_tags: ['ai-full'], sticky_tag: ['ai-full'] }),
      'tag application failed (rolled back)',
    ],
    ['a network that does not stick', failing({}, { netvm_ignored: 1 }), 'netvm assignment failed (rolled back)'],
    [
      'a network that is refused',
      failing({ 'admin.vm.property.Set+netvm@ai-new': ['QubesException', 'vault'] }),
      'netvm assignment failed (rolled back)',
    ],
    ['a creation that is refused', failing({ 'admin.vm.Create.AppVM@dom0': ['QubesException', 'x'] }), 'create failed'],
  ])('%s leaves nothing', async (_, fleet, error) => {
    const { broker, reply } = await spawning({ fleet });
    expect(reply).toEqual(refusal(error));
    expect(broker.world.qubes.has('ai-new')).toBe(false);
  });

  test('a network that is right by chance is not taken for a pin', async () => {
    const fleet = { ...failing({}, { netvm_ignored: 1 }), default_netvm: 'ai-net-router' };
    expect((await spawning({ fleet })).reply).toEqual(refusal('netvm assignment failed (rolled back)'));
  });

  test.each([
    ['stamp', { drop_tag: ['*'] }, 'tag application failed'],
    ['pin', { netvm_ignored: 1 }, 'netvm assignment failed'],
  ])('a failed %s that cannot be rolled back says so, and names the qube in the journal', async (_, hooks, label) => {
    const fleet = failing({ 'admin.vm.Remove@ai-new': ['QubesVMInUseError', 'x'] }, hooks);
    const { broker, reply } = await spawning({ fleet });
    expect(reply).toEqual(refusal(`${label} AND rollback failed; manual cleanup of qube 'ai-new' required in dom0`));
    const { uuid } = broker.world.qube('ai-new');
    const lines = await broker.lines();
    expect(lines.filter(({ type }) => type === 'step').at(-1)).toMatchObject({ step: 'left behind', qube: { uuid } });
    expect(lines.find(({ type }) => type === 'outcome')?.cause).toMatch(/, rollback failed$/);
  });

  test('a qube that somebody starts before it is pinned goes', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.onDone = ({ method, arg, name }) => {
      if (method === 'admin.vm.tag.Set' && arg === 'ai-managed') broker.world.setState(name, 'Running');
    };
    expect(await broker.call(SERVICE, request())).toEqual(refusal('netvm assignment failed (rolled back)'));
    expect(
      broker.qubesd
        .changes()
        .slice(-2)
        .map(([method]) => method),
    ).toEqual(['admin.vm.Kill', 'admin.vm.Remove']);
    expect(broker.world.qubes.has('ai-new')).toBe(false);
  });

  test.each([
    ['has left the umbrella', (world: World) => world.removeTag('ai-net-router', 'ai-managed')],
    [
      'is another qube’s name',
      (world: World) => world.recreate('ai-net-router', { tags: ['ai-managed'], props: { provides_network: 'True' } }),
    ],
  ])('a network that %s by the time of the pin is none: the qube goes', async (_, change) => {
    const broker = await temporaryBroker();
    broker.qubesd.onDone = ({ method }) => {
      if (method === 'admin.vm.Create.AppVM') change(broker.world);
    };
    expect(await broker.call(SERVICE, request())).toEqual(refusal('netvm assignment failed (rolled back)'));
    expect(broker.world.qubes.has('ai-new')).toBe(false);
  });

  test('a qube that was made goes even when it was not seen at first, whatever became of it', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.onDone = ({ method, arg }) => {
      if (method !== 'admin.vm.Create.AppVM') return;
      expect(arg).toBe('ai-debian-13');
      broker.world.setState('ai-new', 'Running');
      broker.qubesd.faults.inject({ method: 'admin.vm.List', dest: 'ai-new', fault: 'empty' });
    };
    expect(await broker.call(SERVICE, request())).toEqual(refusal('create failed'));
    expect(broker.world.qubes.has('ai-new')).toBe(false);
  });

  test('an answer that comes late takes away nothing that has got the name since', async () => {
    const broker = await temporaryBroker({ deadlines: { ...DEADLINES, slow: 300 } });
    broker.qubesd.faults.inject({ method: 'admin.vm.Create.AppVM', fault: 'mute' });
    const unseen = { exception: ['QubesException', 'x'] } as const;
    broker.qubesd.onDone = ({ method }) => {
      if (method !== 'admin.vm.Create.AppVM') return;
      broker.qubesd.onDone = undefined;
      broker.qubesd.faults.inject({
        method: 'admin.vm.List',
        dest: 'ai-new',
        times: Number.POSITIVE_INFINITY,
        fault: unseen,
      });
    };
    const left = "create failed AND rollback failed; manual cleanup of qube 'ai-new' required in dom0";
    expect(await broker.call(SERVICE, request())).toEqual(refusal(left));
    broker.qubesd.faults.clear();
    broker.world.remove('ai-new');
    expect(await broker.call(SERVICE, request())).toEqual({ ok: true, name: 'ai-new' });
    const { uuid } = broker.world.qube('ai-new');
    const looked = broker.qubesd.nextCall('admin.vm.tag.List', 'ai-new');
    broker.qubesd.release();
    await looked;
    await broker.call('qmcp.ListAIManagedQubes', {});
    expect(broker.qubesd.changes().filter(([method]) => method === 'admin.vm.Remove')).toEqual([]);
    expect(broker.world.qube('ai-new').uuid).toBe(uuid);
  });

  test('a qubesd that is gone when the order is given has made nothing, and the reply says no more', async () => {
    const broker = await openBroker();
    const append = broker.journal.append;
    Object.assign(broker.journal, {
      append: async (record: { type: string; step?: string }) => {
        if (record.step === 'create') await broker.qubesd.stop();
        return append(record as never);
      },
    });
    expect(await broker.call(SERVICE, request())).toEqual(refusal('create failed'));
    await broker.stop();
  });

  test('another qube under the name is never touched', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.onDone = ({ method }) => {
      // The operator was quicker: removed ours, and has one of the same name.
      if (method === 'admin.vm.tag.Set') broker.world.recreate('ai-new', { tags: [], props: {} });
    };
    const reply = await broker.call(SERVICE, request());
    expect(reply).toEqual(refusal('tag application failed (rolled back)'));
    expect([...broker.world.qube('ai-new').tags]).toEqual([]);
  });

  test('a journal that takes no more steps takes the qube back', async () => {
    const broker = await openBroker();
    const append = broker.journal.append;
    Object.assign(broker.journal, {
      append: (record: { type: string; step?: string }) =>
        record.step === 'pin' ? append({ ...record, step: '\ud800' } as never) : append(record as never),
    });
    expect(await broker.call(SERVICE, request())).toEqual(refusal('netvm assignment failed (rolled back)'));
    expect(broker.world.qubes.has('ai-new')).toBe(false);
    await broker.stop();
  });
});

describe('the question', () => {
  test('says what will be created, of what, on which network, how big, and what agents may do', async () => {
    const fleet = patched({ 'ai-debian-13': { tags: ['ai-managed', 'ai-full'] } });
    const { broker, questions } = await askingBroker({ fleet });
    const body = request({ label: 'red', klass: 'DispVMTemplate', private_size: 3 * GIB });
    expect(await broker.call(SERVICE, body)).toEqual({ ok: true, name: 'ai-new' });
    expect(questions().map(({ view }) => view)).toMatchObject([
      {
        risk: 'change',
        type_to_confirm: null,
        lines: [
          'Create ai-new (red)',
          'Asked by: mcp-control (gray), default agent',
          'Kind: a template for disposables (AppVM)',
          'Template: ai-debian-13 (black)',
          'Network: ai-net-router (red)',
          'Its own data: up to 3.0 GiB',
          'Agents may: run programs in it, change it and remove it',
          'The label red was chosen by the one who asks.',
        ],
      },
    ]);
  });

  test('is not asked where the answer would change nothing', async () => {
    const { broker, questions } = await askingBroker();
    for (const changes of [
      { name: 'ai-work' },
      { netvm: 'ai-tor' },
      { template: 'ai-work' },
      { private_size: 2 ** 60 },
    ]) {
      expect(await broker.call(SERVICE, request(changes))).toMatchObject({ ok: false });
    }
    expect(questions()).toEqual([]);
  });

  test('is void when the egress, the tags or the room changed while it was open', async () => {
    const changes: ((world: (typeof broker)['world']) => void)[] = [
      (world) => world.setProperty('mcp-control', 'netvm', 'ai-tor'),
      (world) => world.add('ai-new', { tags: [] }),
      (world) => world.removeTag('ai-net-router', 'ai-managed'),
      (world) => world.qube('ai-work').volumes.set('private', 2 ** 45),
    ];
    const { broker, approver } = await askingBroker();
    for (const change of changes) {
      approver.reflex = (asked) => {
        change(broker.world);
        asked.approve();
      };
      broker.qubesd.reset();
      expect(await broker.call(SERVICE, request())).toEqual(refusal(OPAQUE));
      expect(broker.qubesd.changes()).toEqual([]);
      if (broker.world.qubes.has('ai-new')) broker.world.remove('ai-new');
      broker.world.setProperty('mcp-control', 'netvm', 'ai-net-router');
      broker.world.addTag('ai-net-router', 'ai-managed');
    }
  });

  test('shows nothing of a caller but names', async () => {
    const { broker, questions } = await askingBroker();
    for (const text of HOSTILE) {
      await broker.call(SERVICE, request({ template: text, netvm: text, label: text, klass: text, extra: text }));
      await broker.call(SERVICE, request({ name: text }));
      await broker.call(SERVICE, request({ netvm: text }));
    }
    expect(questions()).toEqual([]);
  });
});

test('no request makes it fail as nobody planned, and a refused one changes nothing', async () => {
  const broker = await temporaryBroker();
  const value = fc.oneof(
    fc.constantFrom('ai-new', 'ai-debian-13', 'ai-dvmt', 'ghost', 'vault', 'AppVM', 'DispVM', 'red', '', null),
    fc.jsonValue(),
  );
  const keys = ['name', 'template', 'klass', 'label', 'netvm', 'private_size'];
  const body = fc.record(Object.fromEntries(keys.map((key) => [key, value])), { requiredKeys: [] });
  await fc.assert(
    fc.asyncProperty(body, async (request) => {
      broker.qubesd.reset();
      const reply = await broker.call(SERVICE, request);
      if (reply.ok) broker.world.remove(String(reply.name));
      else expect(broker.qubesd.changes()).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

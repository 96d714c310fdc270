// No reply tells a caller what it could not know (issue of the umbrella, R3, R7, R20): generated fleets and calls, every
// reply searched for what belongs to qubes out of scope. Everything secret in these fleets has the word "hidden" in it.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Reply } from '../../daemon/qrexec/door.ts';
import { SERVICES } from '../../daemon/services/registry.ts';
import { type InProcess, openBroker } from '../broker/in-process.ts';
import { Approver } from '../confirm/approver.ts';
import type { Fault, FaultRule } from '../qubesd/faults.ts';
import type { FleetSpec, QubeSpec } from '../qubesd/fleet.ts';

const MANAGED = ['ai-a', 'ai-b', 'ai-c', 'ai-dvmt', 'ai-tpl'] as const;
const HIDDEN = ['hidden-vault', 'hidden.net', 'hidden_tpl', 'ai-hidden', 'Hidden9'] as const;
/** Names that a caller may try and that nobody has. */
const FREE = ['ai-new', 'ai-new2', 'ghost', 'ai-', 'dom0', '', 'x'.repeat(40)] as const;
const SECRET = /[A-Za-z0-9_.-]*hidden[A-Za-z0-9_.-]*/gi;

// ---- fleets

const reference = fc.constantFrom(...MANAGED, ...HIDDEN, null);
const references = fc.record(
  {
    netvm: reference,
    template: fc.constantFrom('ai-tpl', 'hidden_tpl'),
    default_dispvm: reference,
    guivm: fc.constantFrom('dom0', 'hidden-vault', 'ai-a'),
    audiovm: reference,
    management_dispvm: reference,
  },
  { requiredKeys: ['template'] },
);
const state = fc.constantFrom('Halted', 'Halted', 'Running', 'Paused', 'Transient', 'Crashed');
const tags = (from: readonly string[]) => fc.subarray([...from]);

const deviceName = fc.constantFrom(...MANAGED, ...HIDDEN, 'dom0', 'hidden-gone');
const deviceLine = fc.oneof(
  fc
    .record({ backend: deviceName, attachment: deviceName, frontend: deviceName, parent: deviceName })
    .map(
      ({ backend, attachment, frontend, parent }) =>
        `${backend}+sda:* devclass='block' backend_domain='${backend}' port_id='sda' attachment='${attachment}' ` +
        `frontend_domain='${frontend}' description='hosted by ${parent}' _read-only='yes'`,
    ),
  // In running text a name is known only as long as some qube has it.
  fc.tuple(deviceName, fc.constantFrom(...HIDDEN)).map(([backend, user]) => `${backend}:2-1 a disk used by ${user}`),
  fc.tuple(deviceName, deviceName).map(([backend, frontend]) => `${backend}+sda attached frontend=${frontend}`),
);
const devices = fc.dictionary(
  fc.constantFrom('block.Attached', 'block.Available', 'usb.Attached', 'mic.Attached', 'usb.Available'),
  fc.array(deviceLine, { maxLength: 3 }),
);

const TAGS_IN = [
  'ai-full',
  'ai-net',
  'ai-dump',
  'anon-vm',
  'hidden-tag',
  'qmcp-egress-locked_hidden.net',
  'qmcp-owner_hidden',
];
const TAGS_OUT = ['ai-full', 'ai-dump', 'qmcp-tombstone_5', 'hidden-tag', 'qmcp-guarded', 'AI-MANAGED'];

const managedQube = fc
  .record({ props: references, state, more: tags(TAGS_IN), devices })
  .map(({ props, state, more, devices }): QubeSpec => {
    const features = { 'menu-items': 'x', audiovm: 'hidden-vault', 'hidden-feature': 'hidden-value' };
    return { state, props, tags: ['ai-managed', ...more], devices, features };
  });
const hiddenQube = fc
  .record({
    props: references,
    klass: fc.constantFrom('AppVM', 'StandaloneVM', 'DispVM'),
    state,
    more: tags(TAGS_OUT),
    devices,
  })
  .map(({ props, klass, state, more, devices }): QubeSpec => {
    const secrets = { kernelopts: 'hidden-value', default_user: 'hidden-user' };
    return { klass, state, props: { ...props, ...secrets }, tags: more, devices, features: { x: 'hidden-value' } };
  });

const fleet: fc.Arbitrary<FleetSpec> = fc
  .record({
    managed: fc.tuple(managedQube, managedQube, managedQube, managedQube),
    hidden: fc.tuple(hiddenQube, hiddenQube, hiddenQube, hiddenQube),
    default_netvm: fc.constantFrom('hidden.net', 'ai-a'),
    disposableNetvm: reference,
  })
  .map(({ managed, hidden, default_netvm, disposableNetvm }) => {
    const [a, b, c, dvmt] = managed;
    const [vault, net, ai, nine] = hidden;
    const ofDvmt = {
      ...dvmt,
      props: { ...dvmt.props, template: 'ai-tpl', netvm: disposableNetvm, template_for_dispvms: 'True' },
    };
    return {
      default_netvm,
      qubes: {
        dom0: { klass: 'AdminVM', state: 'Running', tags: [] },
        'mcp-control': { klass: 'StandaloneVM', state: 'Running', tags: [], props: { netvm: default_netvm } },
        'ai-a': { ...a, props: { ...a.props, provides_network: 'True' } },
        'ai-b': b,
        'ai-c': c,
        'ai-dvmt': ofDvmt,
        'ai-tpl': { klass: 'TemplateVM', tags: ['ai-managed'], props: { netvm: null } },
        hidden_tpl: { klass: 'TemplateVM', tags: ['hidden-tag'], props: { netvm: null } },
        'hidden-vault': vault,
        'hidden.net': { ...net, props: { ...net.props, provides_network: 'True' } },
        'ai-hidden': ai,
        Hidden9: nine,
      },
    };
  });

const mainly = (usual: string, ...others: string[]) => fc.constantFrom(...Array<string>(6).fill(usual), ...others);
const operatorFiles = fc.record(
  {
    'consent-policy': mainly('# nothing\n', '*\n'),
    'pool-cap': mainly('1099511627776\n', '1\n', 'hidden\n'),
    'private-cap': mainly('53687091200\n', '1\n'),
    'tier-default': mainly('full\n', 'ro\n', 'hidden\n'),
    'birth-egress': fc.constantFrom('hidden.net\n', 'ai-a\n', 'ai-a\n'),
    'enforce-mode': fc.constantFrom('shadow\n', 'strict\n', 'enforce\n'),
    tombstones: fc.constantFrom('on\n', 'off\n'),
    'birth-ceiling': fc.constantFrom('ai-exec\n', 'ai-full\n'),
    guarded: mainly('ai-b\n', 'hidden-vault\n', 'not a name: hidden\n'),
    'features-allowed': fc.constantFrom('hidden-*\n', 'x-*\n'),
  },
  { requiredKeys: ['consent-policy', 'pool-cap', 'private-cap', 'tier-default'] },
);

// ---- calls

const managedName = fc.constantFrom(...MANAGED);
const anyName = fc.oneof(
  { weight: 6, arbitrary: managedName },
  { weight: 2, arbitrary: fc.constantFrom(...FREE) },
  fc.constantFrom(...HIDDEN),
);
const junk = fc.oneof(anyName, fc.jsonValue({ maxDepth: 1 }));
const mostly = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 12, arbitrary: arbitrary as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: junk });

const properties = [
  'netvm',
  'template',
  'default_dispvm',
  'guivm',
  'audiovm',
  'management_dispvm',
  'label',
  'memory',
  'tags',
  'klass',
  'power_state',
  'name',
  'icon',
  'derived_vms',
  'devices_denied',
  'start_time',
  'bogus',
];
const value = fc.oneof(anyName, fc.constant(null), fc.integer(), fc.boolean(), fc.constantFrom('red', '', 'x y'));
const deviceRequest = fc.record(
  {
    device_class: mostly(fc.constantFrom('block', 'usb', 'mic')),
    backend: mostly(anyName),
    device_id: mostly(fc.constantFrom('sda', '2-1', '', 'a b')),
    frontend: mostly(anyName),
    options: mostly(fc.constantFrom(undefined, {}, { 'read-only': 'yes' })),
  },
  { requiredKeys: ['device_class', 'backend', 'frontend'] },
);

const firewallRules = fc.constantFrom(['action=drop'], ['action=accept', 'action=drop'], [], ['action=hidden'], 'drop');
const freeName = fc.constantFrom('ai-new', 'ai-new2', 'ai-new3');
/** Requests that have a good chance, where one made up at random has not. */
const LIKELY: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  'qmcp.GetPropertyAIManaged': fc.record({
    name: managedName,
    property: fc.constantFrom('tags', 'netvm', 'default_dispvm', 'guivm'),
  }),
  'qmcp.LifecycleAIManaged': fc.record({ name: managedName, action: fc.constantFrom('start', 'kill', 'pause') }),
  'qmcp.SetPropertyAIManaged': fc.record({
    name: managedName,
    property: fc.constant('label'),
    value: fc.constant('red'),
  }),
  'qmcp.SetFeatureAIManaged': fc.record({ name: managedName, feature: fc.constant('ai-x'), value: fc.constant('y') }),
  'qmcp.SpawnAIManagedQube': fc.record({ name: freeName, template: fc.constant('ai-tpl') }),
  'qmcp.CloneAIManagedQube': fc.record({ name: freeName, source: fc.constantFrom('ai-b', 'ai-c') }),
  'qmcp.SpawnDisposableAIManaged': fc.constant({ template: 'ai-dvmt' }),
  'qmcp.AttachDeviceAIManaged': fc.constant({
    device_class: 'block',
    backend: 'ai-a',
    device_id: '2-1',
    frontend: 'ai-c',
  }),
  'qmcp.DetachDeviceAIManaged': fc.constant({
    device_class: 'block',
    backend: 'ai-a',
    device_id: '2-1',
    frontend: 'ai-c',
  }),
};
const REQUESTS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  'qmcp.ListAIManagedQubes': fc.constant({}),
  'qmcp.GetPoolStats': fc.constant({}),
  'qmcp.GetPropertyAIManaged': fc.record({ name: mostly(anyName), property: mostly(fc.constantFrom(...properties)) }),
  'qmcp.SetPropertyAIManaged': fc.record({
    name: mostly(anyName),
    property: mostly(fc.constantFrom(...properties)),
    value: mostly(value),
  }),
  'qmcp.LifecycleAIManaged': fc.record({
    name: mostly(anyName),
    action: mostly(fc.constantFrom('start', 'shutdown', 'kill', 'pause', 'unpause', 'remove')),
  }),
  'qmcp.SetFeatureAIManaged': fc.record({
    name: mostly(anyName),
    feature: mostly(fc.constantFrom('ai-x', 'menu-items', 'audiovm', 'guivm', 'internal', 'qmcp-x', 'bogus')),
    value: mostly(value),
  }),
  'qmcp.SpawnAIManagedQube': fc.record(
    {
      name: mostly(anyName),
      template: mostly(anyName),
      klass: mostly(fc.constantFrom('AppVM', 'DispVM', 'DispVMTemplate')),
      label: mostly(fc.constantFrom('red', 'gray')),
      netvm: mostly(fc.oneof(anyName, fc.constant(null))),
      private_size: mostly(fc.constantFrom(3 * 2 ** 30, 1)),
    },
    { requiredKeys: ['name', 'template'] },
  ),
  'qmcp.SpawnDisposableAIManaged': fc.record({ template: mostly(fc.oneof(fc.constant('ai-dvmt'), anyName)) }),
  'qmcp.CloneAIManagedQube': fc.record({
    source: mostly(anyName),
    name: mostly(fc.constantFrom('ai-new', 'ai-new2', 'ai-b')),
  }),
  'qmcp.AttachDeviceAIManaged': deviceRequest,
  'qmcp.DetachDeviceAIManaged': deviceRequest,
  'qmcp.GetFirewallAIManaged': fc.record({ name: mostly(anyName) }),
  'qmcp.SetFirewallAIManaged': fc.record({ name: mostly(anyName), rules: mostly(firewallRules) }),
  'qmcp.ListAttachedDevicesAIManaged': fc.record(
    {
      name: mostly(managedName),
      device_class: mostly(fc.constantFrom('block', 'usb', 'mic')),
      mode: mostly(fc.constantFrom('attached', 'available')),
    },
    { requiredKeys: ['name', 'device_class'] },
  ),
};
/** For a service that has no entry above: everything a request can hold. */
const anyRequest = fc.dictionary(
  fc.constantFrom('name', 'source', 'template', 'property', 'value', 'feature', 'rules', 'calls'),
  junk,
);

/** These seldom say yes to a request made up at random; below they are sent one that is good. */
const CREATING: ReadonlySet<string> = new Set([
  'qmcp.SpawnAIManagedQube',
  'qmcp.SpawnDisposableAIManaged',
  'qmcp.CloneAIManagedQube',
]);

interface Call {
  readonly service: string;
  readonly request: unknown;
  readonly source: string;
}
const EVENTS = 'qmcp.AIManagedEvents';
const call: fc.Arbitrary<Call> = fc
  .constantFrom(...[...SERVICES.keys()].filter((service) => service !== EVENTS))
  .chain((service) =>
    fc.record({
      service: fc.constant(service),
      request: fc.oneof(
        { weight: 10, arbitrary: REQUESTS[service] ?? anyRequest },
        { weight: 10, arbitrary: LIKELY[service] ?? REQUESTS[service] ?? anyRequest },
        { weight: 1, arbitrary: fc.jsonValue() },
      ),
      source: fc.constantFrom('mcp-control', 'mcp-control', 'ai-a'),
    }),
  );

const PREPARE = 'qmcp.Prepare';
const plan: fc.Arbitrary<Call> = fc
  .array(call, { minLength: 1, maxLength: 3 })
  .map((calls) => calls.map(({ service, request }) => ({ service, request })))
  .map((calls) => ({ service: PREPARE, request: { calls }, source: 'mcp-control' }));
const callOrPlan = fc.oneof({ weight: 6, arbitrary: call }, { weight: 1, arbitrary: plan });

// ---- what goes on meanwhile

const OUTSIDE: Fault = { exception: ['HiddenError', "No such domain: 'hidden-vault', see hidden.net"] };
const faultRule: fc.Arbitrary<FaultRule> = fc.record(
  {
    method: fc.constantFrom(
      'admin.vm.List',
      'admin.vm.tag.List',
      'admin.vm.tag.Set',
      'admin.vm.property.Get',
      'admin.vm.property.Set',
      'admin.vm.property.GetAll',
      'admin.vm.CurrentState',
      'admin.vm.CreateDisposable',
      'admin.vm.Remove',
      'admin.vm.Start',
      'admin.vm.Kill',
      'admin.vm.Pause',
      'admin.vm.volume.Info',
      'admin.vm.feature.Get',
      'admin.vm.feature.Set',
    ),
    skip: fc.oneof(fc.constant(0), fc.nat(12)),
    times: fc.constantFrom(1, 2, Number.POSITIVE_INFINITY),
    fault: fc.constantFrom<Fault>(OUTSIDE, OUTSIDE, 'empty', 'lost', { cut: 7 }),
  },
  { requiredKeys: ['skip', 'times', 'fault'] },
);

const happening = fc.oneof(
  fc.record({
    subject: fc.constantFrom(...MANAGED, ...HIDDEN, ''),
    event: fc.constantFrom(
      'domain-start',
      'property-set:netvm',
      'domain-tag-add:hidden-tag',
      'domain-tag-delete:qmcp-egress-locked_hidden.net',
      'domain-tag-add',
      'domain-tag-add:ai-managed',
      'device-attach:block',
      'domain-add',
    ),
  }),
  fc.record({
    tag: fc.constantFrom('ai-managed', 'hidden-tag'),
    subject: fc.constantFrom(...MANAGED, ...HIDDEN),
    add: fc.boolean(),
  }),
);

/** An approver that says yes to every other question, and a device tool that talks. */
const attend = async (broker: InProcess, approver: Approver): Promise<void> => {
  let questions = 0;
  approver.reflex = (asked) => (questions++ % 2 === 0 ? asked.approve() : asked.deny());
  await approver.listen(join(broker.run, 'confirm.sock'));
  await writeFile(join(broker.etc, 'confirm.pub'), `${approver.publicKey}\n`);
  const tool =
    '#!/bin/sh\necho "Unknown device of hidden-vault"\necho hidden.net >&2\ncase "$4" in *sda) exit 1;; esac\n';
  await writeFile(join(broker.tools, 'qvm-device'), tool, { mode: 0o755 });
};

const act = (
  broker: InProcess,
  what: { subject: string; event: string } | { subject: string; tag: string; add: boolean },
): void => {
  const { world } = broker;
  if ('event' in what)
    world.emit(what.subject, what.event, {
      tag: 'hidden-tag',
      newvalue: 'hidden.net',
      vm: 'hidden-vault',
      device: 'hidden-vault:sda',
    });
  else if (!world.qubes.has(what.subject)) return;
  else if (what.add) world.addTag(what.subject, what.tag);
  else world.removeTag(what.subject, what.tag);
};

const turns = async (count = 3): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** What of the secrets a reply has that its request did not have. Names that came under the umbrella are no secrets. */
const leaked = (reply: Reply, { request }: Call, known: ReadonlySet<string>): string[] => {
  const asked = JSON.stringify(request) ?? '';
  return (JSON.stringify(reply).match(SECRET) ?? []).filter((word) => !asked.includes(word) && !known.has(word));
};

// No deadline here passes but the one of the events, which is wound by hand.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('no reply', () => {
  test('has a name, value or text in it that the caller could not know', { timeout: 120_000 }, async () => {
    const scene = fc.record({
      fleet,
      operatorFiles,
      calls: fc.array(fc.tuple(callOrPlan, fc.array(happening, { maxLength: 2 })), { minLength: 4, maxLength: 14 }),
      faults: fc.oneof(fc.constant([]), fc.array(faultRule, { maxLength: 3 })),
    });
    const replies = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(scene, async ({ fleet, operatorFiles, calls, faults }) => {
        const approver = new Approver();
        const broker = await openBroker({ fleet, operatorFiles });
        const known = new Set<string>();
        broker.world.subscribe((subject, event) => {
          if (event === 'domain-tag-add:ai-managed') known.add(subject);
        });
        try {
          await attend(broker, approver);
          const listening = broker.call(EVENTS, { duration: 1 });
          await broker.view.snapshot();
          await turns();
          for (const fault of faults) broker.qubesd.faults.inject(fault);
          for (const [call, meanwhile] of calls) {
            for (const what of meanwhile) act(broker, what);
            const reply = await broker.call(call.service, call.request, call.source);
            expect(leaked(reply, call, known), JSON.stringify(call)).toEqual([]);
            if (call.service === PREPARE && reply.ok) {
              const results = await broker.call('qmcp.Commit', {}, call.source, String(reply.nonce));
              expect(leaked(results, call, known), JSON.stringify(call)).toEqual([]);
            }
            const kind = `${call.service} ${reply.ok}`;
            replies.set(kind, (replies.get(kind) ?? 0) + 1);
          }
          await turns();
          vi.advanceTimersByTime(1_000);
          const told = await listening;
          // Also of what the caller did itself: a feature key of its own choosing comes back in the name of an event.
          const asked = calls.map(([{ request }]) => request);
          expect(leaked(told, { service: EVENTS, request: asked, source: '' }, known)).toEqual([]);
          expect(broker.qubesd.errors).toEqual([]);
          expect(broker.unplanned).toEqual([]);
        } finally {
          approver.close();
          await broker.stop();
        }
      }),
      { numRuns: 100 },
    );
    // Every service was asked often enough to say yes and no. A property about replies that never came would prove nothing.
    for (const service of [...Object.keys(REQUESTS), PREPARE]) {
      if (!CREATING.has(service)) expect(replies.get(`${service} true`) ?? 0, `${service}: yes`).toBeGreaterThan(0);
      if (service !== 'qmcp.ListAIManagedQubes') {
        expect(replies.get(`${service} false`) ?? 0, `${service}: no`).toBeGreaterThan(0);
      }
    }
  });

  test('says what qubesd said when a call of it failed, whichever that was', { timeout: 120_000 }, async () => {
    const props = { template: 'ai-tpl', netvm: 'ai-a' };
    const good: FleetSpec = {
      default_netvm: 'hidden.net',
      qubes: {
        'mcp-control': { tags: [], props: { netvm: 'ai-a' } },
        'hidden.net': { tags: [], props: { netvm: null } },
        'ai-tpl': { klass: 'TemplateVM', tags: ['ai-managed'], props: { netvm: null } },
        'ai-a': { state: 'Running', tags: ['ai-managed'], props: { template: 'ai-tpl', netvm: 'hidden.net' } },
        'ai-b': { tags: ['ai-managed'], props },
        'ai-dvmt': { tags: ['ai-managed'], props: { ...props, template_for_dispvms: 'True' } },
      },
    };
    const requests: Record<string, object> = {
      'qmcp.ListAIManagedQubes': {},
      'qmcp.GetPoolStats': {},
      'qmcp.GetPropertyAIManaged': { name: 'ai-a', property: 'start_time' },
      'qmcp.SetPropertyAIManaged': { name: 'ai-b', property: 'label', value: 'red' },
      'qmcp.LifecycleAIManaged': { name: 'ai-b', action: 'start' },
      'qmcp.SetFeatureAIManaged': { name: 'ai-b', feature: 'ai-x', value: 'y' },
      'qmcp.SpawnAIManagedQube': { name: 'ai-new', template: 'ai-tpl', private_size: 3 * 2 ** 30 },
      'qmcp.SpawnDisposableAIManaged': { template: 'ai-dvmt' },
      'qmcp.CloneAIManagedQube': { source: 'ai-b', name: 'ai-new' },
      'qmcp.AttachDeviceAIManaged': { device_class: 'block', backend: 'ai-a', device_id: '2-1', frontend: 'ai-b' },
      'qmcp.DetachDeviceAIManaged': { device_class: 'block', backend: 'ai-a', device_id: '2-1', frontend: 'ai-b' },
      'qmcp.ListAttachedDevicesAIManaged': { name: 'ai-b', device_class: 'block' },
      'qmcp.GetFirewallAIManaged': { name: 'ai-b' },
      'qmcp.SetFirewallAIManaged': { name: 'ai-b', rules: ['action=drop'] },
    };
    expect([...Object.keys(requests), EVENTS].sort()).toEqual([...SERVICES.keys()].sort());
    const files = { 'consent-policy': '# nothing\n', 'pool-cap': '1099511627776\n', 'private-cap': '53687091200\n' };
    /** The reply to a request, from a broker before a qubesd that fails as told; and the calls that it took. */
    const replyTo = async (call: Call, rule: FaultRule | null): Promise<{ reply: Reply; calls: number }> => {
      const broker = await openBroker({ fleet: good, operatorFiles: files });
      const approver = new Approver();
      try {
        await attend(broker, approver);
        broker.qubesd.reset();
        if (rule) broker.qubesd.faults.inject(rule);
        const reply = await broker.call(call.service, call.request, call.source);
        return { reply, calls: broker.qubesd.calls.length };
      } finally {
        approver.close();
        await broker.stop();
      }
    };
    for (const [service, request] of Object.entries(requests)) {
      const call = { service, request, source: 'mcp-control' };
      const sound = await replyTo(call, null);
      expect(sound.reply, service).toMatchObject({ ok: true });
      for (let skip = 0; skip < sound.calls; skip++) {
        for (const times of [1, Number.POSITIVE_INFINITY]) {
          const { reply } = await replyTo(call, { skip, times, fault: OUTSIDE });
          expect(leaked(reply, call, new Set()), `${service}, call ${skip}`).toEqual([]);
        }
      }
    }
  });

  test('depends on what qubes out of scope are called, how many there are, and what they are like', {
    timeout: 120_000,
  }, async () => {
    const scene = fc.record({
      fleet,
      operatorFiles,
      calls: fc.array(call, { minLength: 4, maxLength: 14 }).map((calls) => calls.filter(isInnocent)),
    });
    await fc.assert(
      fc.asyncProperty(scene, async ({ fleet, operatorFiles, calls }) => {
        const there = await repliesIn(fleet, operatorFiles, calls);
        const elsewhere = await repliesIn(twinOf(fleet), asElsewhere(operatorFiles), calls);
        expect(elsewhere).toEqual(there);
      }),
      { numRuns: 40 },
    );
  });
});

/** A caller that has never heard of anything out of scope. */
const isInnocent = ({ request }: Call): boolean => !/hidden/i.test(JSON.stringify(request) ?? '');

const repliesIn = async (
  fleet: FleetSpec,
  operatorFiles: Record<string, string>,
  calls: readonly Call[],
): Promise<Reply[]> => {
  const approver = new Approver();
  const broker = await openBroker({ fleet, operatorFiles });
  try {
    await attend(broker, approver);
    const replies: Reply[] = [];
    for (const { service, request, source } of calls) replies.push(await broker.call(service, request, source));
    return replies;
  } finally {
    approver.close();
    await broker.stop();
  }
};

const asElsewhere = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value).replaceAll('hidden', 'covert').replaceAll('Hidden', 'Covert'));

/** The same fleet for somebody who sees the umbrella alone: every other qube has another name, kind, state and size. */
const twinOf = (fleet: FleetSpec): FleetSpec => {
  const twin = asElsewhere(fleet);
  const qubes = Object.entries(twin.qubes).map(([name, qube]): [string, QubeSpec] => {
    const isCharged = qube.tags?.some((tag) => tag === 'ai-managed' || tag.startsWith('qmcp-tombstone_'));
    if (isCharged || !/covert/i.test(name)) return [name, qube];
    const klass = qube.klass === 'StandaloneVM' ? 'AppVM' : 'StandaloneVM';
    const state = qube.state === 'Running' ? 'Halted' : 'Running';
    const props = { ...qube.props, label: 'purple', memory: '999' };
    return [name, { ...qube, klass, state, props, features: { y: '1' }, volumes: { private: 2 ** 40, root: 2 ** 40 } }];
  });
  const more = Array.from({ length: 3 }, (_, index): [string, QubeSpec] => [`covert-${index}`, { tags: ['ai-full'] }]);
  return { ...twin, qubes: Object.fromEntries([...qubes, ...more]) };
};

// What callers send: what is right, what is right by its form and about somebody else's qube, what is broken, and what is
// meant to break something.
import type { Chance } from './chance.ts';
import { AGENTS_QUBES, BIRTH_NAMES, OPERATORS_QUBES, SOURCES, STRANGERS } from './fleet.ts';

/** One call as it comes through the door: its body is bytes. */
export interface SimulatedCall {
  readonly source: string;
  readonly service: string;
  readonly argument: string;
  readonly body: Buffer;
}

const AGENTS = Object.keys(AGENTS_QUBES);
const OTHERS = [...Object.keys(OPERATORS_QUBES), ...Object.keys(STRANGERS), 'dom0', 'mcp-control', 'ai-router'];
const NOBODY = ['ai-gone', 'ai-nobody', 'opq-none', 'disp1', 'a'];
const HOSTILE = [
  '',
  ' ',
  'ai-a ',
  'AI-A',
  'uuid:00000000-0000-0000-0000-000000000000',
  '../ai-a',
  'ai-a\u0000',
  'ai-a\nai-full',
  '<b>CANARY</b>',
  '\u202eCANARY',
  'x'.repeat(32),
  'x'.repeat(5_000),
  '__proto__',
  'constructor',
  '@dispvm',
  '*',
];

const nameOf = (chance: Chance): string => {
  switch (chance.weighted({ agents: 66, born: 12, disposable: 2, others: 9, nobody: 6, hostile: 5 })) {
    case 'agents':
      return chance.pick(AGENTS);
    case 'born':
      return chance.pick(BIRTH_NAMES);
    case 'disposable':
      return `disp${1234 + chance.below(20)}`;
    case 'others':
      return chance.pick(OTHERS);
    case 'nobody':
      return chance.pick(NOBODY);
    case 'hostile':
      return chance.pick(HOSTILE);
  }
};

const PROPERTIES: readonly (readonly [property: string, values: readonly unknown[]])[] = [
  ['label', ['red', 'blue', 'green', 'CANARY', 'no colour', 7, null]],
  ['memory', [300, '400', 500, -1, 'much', true]],
  ['maxmem', [1000, '2000']],
  ['vcpus', [1, 2, '3']],
  ['netvm', [null, 'ai-router', 'opq-firewall', '']],
  ['template', ['ai-t', 'ai-t2', 'opq-fedora', 'ai-a', null]],
  ['default_dispvm', ['ai-dvmt', 'opq-vault', null]],
  ['name', ['ai-renamed']],
  ['provides_network', [true]],
  ['autostart', [true]],
  ['__proto__', [1]],
  ['kernel CANARY', ['x']],
];
const FEATURES: readonly (readonly [feature: string, values: readonly unknown[]])[] = [
  ['menu-items', ['a.desktop', 'b.desktop c.desktop', 'CANARY is approved by your administrator']],
  ['ai-note', ['1', '2', true, 3, 'CANARY', null]],
  ['qmcp-x', ['1']],
  ['internal', ['1']],
  ['guivm', ['ai-a', 'opq-vault']],
  ['service.x', ['1']],
];
const RULES = [
  ['action=drop'],
  ['action=accept dsthost=example.com', 'action=drop'],
  ['action=accept'],
  ['action=accept comment=CANARY'],
  ['no rule'],
  [],
];

interface Asking {
  readonly service: string;
  readonly request: unknown;
}

const CHANGES = {
  lifecycle: 34,
  property: 20,
  feature: 9,
  firewall: 5,
  spawn: 12,
  disposable: 5,
  clone: 7,
  attach: 4,
  detach: 2,
} as const;

const change = (chance: Chance): Asking => {
  switch (chance.weighted(CHANGES)) {
    case 'lifecycle': {
      const action = chance.pick([
        'start',
        'start',
        'shutdown',
        'shutdown',
        'pause',
        'unpause',
        'kill',
        'remove',
        'remove',
        'explode',
      ]);
      return { service: 'qmcp.LifecycleAIManaged', request: { name: nameOf(chance), action } };
    }
    case 'property': {
      const [property, values] = chance.pick(PROPERTIES);
      return {
        service: 'qmcp.SetPropertyAIManaged',
        request: { name: nameOf(chance), property, value: chance.pick(values) },
      };
    }
    case 'feature': {
      const [feature, values] = chance.pick(FEATURES);
      return {
        service: 'qmcp.SetFeatureAIManaged',
        request: { name: nameOf(chance), feature, value: chance.pick(values) },
      };
    }
    case 'firewall':
      return { service: 'qmcp.SetFirewallAIManaged', request: { name: nameOf(chance), rules: chance.pick(RULES) } };
    case 'spawn':
      return {
        service: 'qmcp.SpawnAIManagedQube',
        request: {
          name: chance.is(0.9) ? chance.pick(BIRTH_NAMES) : nameOf(chance),
          template: chance.is(0.7) ? chance.pick(['ai-t', 'ai-t', 'ai-t2', 'ai-dvmt']) : nameOf(chance),
          ...(chance.is(0.2) && { klass: chance.pick(['AppVM', 'DispVM', 'DispVMTemplate', 'TemplateVM']) }),
          ...(chance.is(0.2) && { netvm: chance.pick([null, 'ai-router', 'opq-firewall', 3]) }),
          ...(chance.is(0.1) && { private_size: chance.pick([2 ** 32, 2 ** 40, -1, 'big']) }),
          ...(chance.is(0.1) && { label: chance.pick(['red', 'CANARY']) }),
        },
      };
    case 'disposable':
      return {
        service: 'qmcp.SpawnDisposableAIManaged',
        request: { template: chance.is(0.8) ? 'ai-dvmt' : nameOf(chance) },
      };
    case 'clone':
      return {
        service: 'qmcp.CloneAIManagedQube',
        request: { source: nameOf(chance), name: chance.pick(BIRTH_NAMES) },
      };
    case 'attach':
    case 'detach': {
      const service = chance.is(0.6) ? 'qmcp.AttachDeviceAIManaged' : 'qmcp.DetachDeviceAIManaged';
      const ends = {
        backend: chance.is(0.7) ? chance.pick(['ai-a', 'ai-full']) : nameOf(chance),
        frontend: nameOf(chance),
      };
      return {
        service,
        request: { device_class: 'block', device_id: chance.pick(['sda', 'sda', 'sdb', '--help']), ...ends },
      };
    }
  }
};

const read = (chance: Chance): Asking => {
  switch (chance.weighted({ list: 6, property: 10, devices: 2, firewall: 2, pool: 1, events: 1 })) {
    case 'list':
      return { service: 'qmcp.ListAIManagedQubes', request: {} };
    case 'property': {
      const property = chance.pick([
        'label',
        'netvm',
        'template',
        'power_state',
        'tags',
        'memory',
        'klass',
        'CANARY',
        'default_dispvm',
      ]);
      return {
        service: 'qmcp.GetPropertyAIManaged',
        request: { name: chance.is(0.1) ? 'ai-router' : nameOf(chance), property },
      };
    }
    case 'devices':
      return { service: 'qmcp.ListAttachedDevicesAIManaged', request: { name: nameOf(chance), device_class: 'block' } };
    case 'firewall':
      return { service: 'qmcp.GetFirewallAIManaged', request: { name: nameOf(chance) } };
    case 'pool':
      return { service: 'qmcp.GetPoolStats', request: {} };
    case 'events':
      return {
        service: 'qmcp.AIManagedEvents',
        request: { duration: chance.pick([1, 5, 120]), qube: chance.is(0.5) ? null : nameOf(chance) },
      };
  }
};

/** Text that no service asked for. */
const broken = (chance: Chance): Buffer => {
  const { request } = chance.is(0.5) ? change(chance) : read(chance);
  const text = JSON.stringify(request);
  switch (chance.weighted({ cut: 3, bytes: 2, deep: 1, type: 2, doubled: 2, proto: 1, long: 1 })) {
    case 'cut':
      return Buffer.from(text.slice(0, chance.below(text.length)));
    case 'bytes': {
      const bytes = Buffer.from(text);
      bytes[chance.below(bytes.length)] = chance.below(256);
      return bytes;
    }
    case 'deep':
      return Buffer.from('['.repeat(10_000));
    case 'type':
      return Buffer.from(
        chance.pick([
          'null',
          '7',
          '"x"',
          '[]',
          '[[{}]]',
          'true',
          '{"name":{"a":1}}',
          '{"name":["ai-a"],"action":"remove"}',
        ]),
      );
    case 'doubled':
      return Buffer.from(text.replace('{', '{"name":"ai-a","source":"ai-a",'));
    case 'proto':
      return Buffer.from('{"__proto__":{"name":"ai-a","action":"start"},"constructor":{"prototype":{"ok":true}}}');
    case 'long':
      return Buffer.from(`{"name":"${'a'.repeat(20_000)}","action":"start"}`);
  }
};

/** The steps of a plan: later ones often about what earlier ones create. */
const steps = (chance: Chance): Asking[] => {
  const name = chance.pick(BIRTH_NAMES);
  if (chance.is(0.3)) {
    return [
      { service: 'qmcp.SpawnAIManagedQube', request: { name, template: 'ai-t' } },
      { service: 'qmcp.SetPropertyAIManaged', request: { name, property: 'label', value: 'red' } },
      ...(chance.is(0.5) ? [{ service: 'qmcp.LifecycleAIManaged', request: { name, action: 'start' } }] : []),
    ];
  }
  return Array.from({ length: 1 + chance.below(chance.is(0.05) ? 34 : 4) }, () =>
    chance.is(0.15) ? read(chance) : change(chance),
  );
};

/** `plans`: the nonces that callers got, with whose they are. */
export const aCall = (
  chance: Chance,
  plans: readonly { readonly nonce: string; readonly source: string }[],
): SimulatedCall => {
  const source = chance.is(0.8) ? SOURCES[0] : chance.pick(SOURCES);
  const from = (service: string, request: unknown, argument = ''): SimulatedCall => ({
    ...{ source, service, argument },
    body: Buffer.from(JSON.stringify(request)),
  });
  switch (chance.weighted({ change: 46, read: 22, broken: 12, unknown: 2, prepare: 8, plan: 10 })) {
    case 'change': {
      const { service, request } = change(chance);
      return from(service, request);
    }
    case 'read': {
      const { service, request } = read(chance);
      return from(service, request);
    }
    case 'broken': {
      const { service } = chance.is(0.6) ? change(chance) : read(chance);
      return { source, service: chance.is(0.1) ? 'qmcp.Prepare' : service, argument: '', body: broken(chance) };
    }
    case 'unknown':
      return from(chance.pick(['qmcp.Nothing', 'qmcp.__proto__', 'qmcp.RunInAIManaged', 'admin.vm.Remove']), {});
    case 'prepare':
      return from('qmcp.Prepare', { calls: steps(chance) });
    case 'plan': {
      const plan =
        plans.length > 0 && chance.is(0.9) ? (chance.is(0.8) ? plans.at(-1) : chance.pick(plans)) : undefined;
      const nonce = plan?.nonce ?? chance.pick(['', '0'.repeat(64), 'x', 'f'.repeat(65)]);
      const service = chance.weighted({ 'qmcp.Commit': 7, 'qmcp.Status': 2, 'qmcp.Cancel': 1 });
      const call = from(service, service === 'qmcp.Commit' && chance.is(0.3) ? { wait: false } : {}, nonce);
      return plan && chance.is(0.9) ? { ...call, source: plan.source } : call;
    }
  }
};

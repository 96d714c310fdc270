// Creations as rich as they come, for the tests that break them: every phase has something to do.
import type { FleetSpec } from '../qubesd/fleet.ts';
import type { Qube, World } from '../qubesd/world.ts';

export interface Creation {
  readonly title: string;
  readonly service: string;
  readonly request: object;
  /** What the created qube must be before anybody can use it. */
  readonly netvm: string | null;
  readonly controlled: readonly string[];
}

const GIB = 2 ** 30;
const managed = ['ai-managed', 'ai-full'];

/** Small, so that breaking every single call stays quick. `ai-full` is above the ceiling, and dom0 hands out tags. */
export const FLEET: FleetSpec = {
  default_netvm: 'sys-firewall',
  hooks: { extra_birth_tags: ['ai-dump', 'qmcp-stray'] },
  qubes: {
    dom0: { klass: 'AdminVM', state: 'Running', tags: [] },
    'mcp-control': { klass: 'StandaloneVM', state: 'Running', tags: [], props: { netvm: 'ai-router' } },
    'sys-firewall': { state: 'Running', tags: [], props: { provides_network: 'True', netvm: null } },
    'ai-router': {
      state: 'Running',
      tags: ['ai-managed'],
      props: { provides_network: 'True', netvm: 'sys-firewall', template: 'ai-debian' },
    },
    'ai-debian': { klass: 'TemplateVM', tags: managed, props: { netvm: null } },
    'ai-dvmt': {
      tags: [...managed, 'qmcp-owner_other'],
      props: { template: 'ai-debian', netvm: 'ai-router', template_for_dispvms: 'True' },
    },
    'ai-source': {
      tags: [...managed, 'qmcp-guarded', 'mine', 'created-by-dom0'],
      props: {
        template: 'ai-debian',
        netvm: 'ai-router',
        label: 'blue',
        memory: '800',
        default_dispvm: 'ai-dvmt',
        autostart: 'True',
      },
      features: { 'ai-x': '1', internal: '1' },
      firewall: 'action=drop\n',
      volumes: { private: 4 * GIB },
    },
    'ai-named': {
      klass: 'DispVM',
      tags: managed,
      props: { template: 'ai-dvmt', netvm: 'ai-router', label: 'red', vcpus: '3' },
    },
  },
};

/** Not QUIET's 1 TiB: whatever is left behind counts. */
export const FILES: Readonly<Record<string, string>> = {
  'consent-policy': '# nothing is asked\n',
  'pool-cap': String(100 * GIB),
  'private-cap': String(20 * GIB),
  'birth-ceiling': 'ai-exec\n',
};

const ours = ['ai-exec', 'ai-managed', 'qmcp-owner_mcp-control'];
const spawn = (title: string, request: object): Creation => ({
  title,
  service: 'qmcp.SpawnAIManagedQube',
  request: { name: 'ai-new', ...request },
  netvm: 'ai-router',
  controlled: ours,
});

export const CREATIONS: readonly Creation[] = [
  spawn('a spawn with a size', { template: 'ai-debian', private_size: 10 * GIB }),
  spawn('a spawn of a template for disposables', { template: 'ai-debian', klass: 'DispVMTemplate' }),
  spawn('a spawn of a named disposable', { template: 'ai-dvmt', klass: 'DispVM' }),
  {
    title: 'a disposable',
    service: 'qmcp.SpawnDisposableAIManaged',
    request: { template: 'ai-dvmt' },
    netvm: 'ai-router',
    controlled: ours,
  },
  {
    title: 'a clone',
    service: 'qmcp.CloneAIManagedQube',
    request: { source: 'ai-source', name: 'ai-new' },
    netvm: 'ai-router',
    controlled: [...ours, 'qmcp-guarded'],
  },
  {
    title: 'a clone of a disposable',
    service: 'qmcp.CloneAIManagedQube',
    request: { source: 'ai-named', name: 'ai-new' },
    netvm: 'ai-router',
    controlled: ours,
  },
];

const CONTROLLED = /^(?:ai-(?:managed|exec|net|full|dump)$|qmcp-)/;

/** The qubes that were not in FLEET. */
export const born = (world: World): Qube[] => [...world.qubes.values()].filter(({ name }) => !(name in FLEET.qubes));

/** What is wrong with the created qubes, as sentences; none when every one of them is whole. */
export const flaws = (world: World, { netvm, controlled }: Creation): string[] =>
  born(world).flatMap(({ name, tags, props }) => {
    const actual = [...tags].filter((tag) => CONTROLLED.test(tag)).sort();
    const wrongTags = actual.join() !== [...controlled].sort().join();
    return [
      ...(props.get('netvm') === netvm ? [] : [`${name} is not pinned: ${props.get('netvm')}`]),
      ...(wrongTags ? [`${name} is tagged ${actual}`] : []),
    ];
  });

/** The qubes of FLEET and what they carry, to be compared. */
export const others = (world: World): unknown =>
  Object.keys(FLEET.qubes).map((name) => {
    const { tags, props, features, volumes, firewall, state } = world.qube(name);
    return {
      name,
      tags: [...tags].sort(),
      props: [...props],
      features: [...features],
      volumes: [...volumes],
      firewall,
      state,
    };
  });

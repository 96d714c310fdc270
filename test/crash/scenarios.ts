// The calls that a broker is killed in: one of each kind of effect.
import type { Finding } from '../../daemon/journal/record.ts';
import { QUIET } from '../broker/daemon.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import type { World } from '../qubesd/world.ts';
import { CREATIONS, FILES as CREATIONS_FILES, FLEET as CREATIONS_FLEET } from '../services/creations.ts';

/** Where the world is after a crash, by the states it goes through when nothing happens. */
export type Position = 'before' | 'between' | 'after';

/** Who makes a call, of a broker in this process or of one in its own. */
export interface Caller {
  call(service: string, request: object, argument?: string): Promise<{ readonly ok: boolean }>;
  /** Through the operator's verb, the oldest change that is kept since the scenario began. */
  undoFirst(): Promise<{ readonly ok: boolean }>;
}

export interface Scenario {
  readonly title: string;
  readonly operatorFiles: Readonly<Record<string, string>>;
  /** What has happened before the life in which it is killed. */
  readonly earlier?: (caller: Caller) => Promise<unknown>;
  /** Makes the call. Gives the reply, or what an operator's verb says. */
  readonly run: (caller: Caller) => Promise<{ readonly ok: boolean }>;
  /** The service of its intent. */
  readonly service: string;
  /** Whether somebody has to say yes. */
  readonly asked: boolean;
  /** Whether it can be undone, and so has to be kept before it is done. */
  readonly undoable: boolean;
  /** All that it made is taken away at the next start unless it is whole. */
  readonly isCreation: boolean;
  /** What a start may find of it. The truth where that can be told at all. */
  readonly findings: Readonly<Record<Position, readonly Finding['finding'][]>>;
}

const idle = {
  tags: ['ai-managed', 'ai-full', 'qmcp-owner_x', 'mine'],
  props: { template: 'ai-debian', netvm: 'ai-router', label: 'blue' },
  features: { 'menu-items': 'a.desktop' },
  firewall: 'action=accept dsthost=example.com comment=mine\naction=drop\n',
};
export const FLEET: FleetSpec = {
  ...CREATIONS_FLEET,
  qubes: { ...CREATIONS_FLEET.qubes, 'ai-idle': idle, 'ai-other': { ...idle, devices: { 'block.Available': [] } } },
};

/** All there is to a world, without what differs from one run to the next. */
export const textOf = (world: World): string =>
  JSON.stringify(
    world.sorted().map(({ name, klass, state, tags, props, features, volumes, devices, firewall }) => ({
      name: name.replace(/^disp\d+$/, 'disp'),
      ...{ klass, state, firewall },
      tags: [...tags].map((tag) => tag.replace(/^(qmcp-tombstone_)\d+$/, '$1')).sort(),
      props: [...props].sort(),
      features: [...features].sort(),
      volumes: [...volumes].sort(),
      devices: [...devices],
    })),
  );

const TRUTH = { before: ['not-done'], between: ['half-done'], after: ['done'] } as const;
const UNASKED = { asked: false, undoable: false, isCreation: false, findings: TRUTH, operatorFiles: QUIET };
/** The built-in destructive set is asked. */
const ASKED = {
  ...UNASKED,
  asked: true,
  operatorFiles: { 'pool-cap': '1099511627776\n', 'private-cap': '53687091200\n' },
};
const TOMBSTONES = { ...QUIET, tombstones: 'on\n' };

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const SET = 'qmcp.SetPropertyAIManaged';
export const DISPOSABLE = 'qmcp.SpawnDisposableAIManaged';
const calls = (service: string, request: object) => ({
  service,
  run: (caller: Caller) => caller.call(service, request),
});
const label = { name: 'ai-idle', property: 'label', value: 'red' };
const removal = { name: 'ai-idle', action: 'remove' };

/** Prepares and commits; the nonce is kept, to be tried again. */
const runsPlan = (steps: readonly (readonly [service: string, request: object])[]) => ({
  service: 'qmcp.Commit',
  run: async (caller: Caller) => {
    const plan = { calls: steps.map(([service, request]) => ({ service, request })) };
    const prepared = await caller.call('qmcp.Prepare', plan);
    if (!('nonce' in prepared)) return prepared;
    const { nonce } = prepared as unknown as { nonce: string };
    PLAN_NONCES.set(caller, nonce);
    const committed = await caller.call('qmcp.Commit', {}, nonce);
    return { ...committed, ok: committed.ok && 'state' in committed && committed.state === 'done' };
  },
});
export const PLAN_NONCES = new WeakMap<Caller, string>();
/** Which of the steps that have no outcome were done is told by their own findings. */
const OF_PLAN = {
  before: ['not-done', 'unknown'],
  between: ['half-done', 'unknown'],
  after: ['done', 'half-done'],
} as const;

const undoesFirst = {
  service: 'qmcpctl',
  run: (caller: Caller) => caller.undoFirst(),
};

export const SCENARIOS: readonly Scenario[] = [
  {
    title: 'a start',
    ...UNASKED,
    ...calls(LIFECYCLE, { name: 'ai-idle', action: 'start' }),
    findings: { ...TRUTH, between: ['unknown'] },
  },
  { title: 'a removal that is asked', ...ASKED, ...calls(LIFECYCLE, removal) },
  {
    title: 'a removal that leaves a tombstone',
    ...UNASKED,
    ...calls(LIFECYCLE, removal),
    operatorFiles: TOMBSTONES,
    undoable: true,
    // It is out of reach as soon as the umbrella is gone.
    findings: { ...TRUTH, between: ['half-done', 'done'] },
  },
  { title: 'a property', ...UNASKED, ...calls(SET, label), undoable: true },
  {
    title: 'a feature',
    ...UNASKED,
    ...calls('qmcp.SetFeatureAIManaged', { name: 'ai-idle', feature: 'menu-items', value: 'b.desktop' }),
    undoable: true,
  },
  {
    title: 'a firewall that is asked',
    ...ASKED,
    ...calls('qmcp.SetFirewallAIManaged', { name: 'ai-idle', rules: ['action=drop'] }),
    undoable: true,
  },
  ...CREATIONS.map(({ title, service, request }) => ({
    title,
    ...UNASKED,
    ...calls(service, request),
    operatorFiles: CREATIONS_FILES,
    isCreation: true,
    // Which one was made of an order without an answer is never certain.
    ...(service === DISPOSABLE && { findings: { ...TRUTH, before: ['not-done', 'unknown'] as const } }),
  })),
  {
    title: 'an attachment',
    ...UNASKED,
    ...calls('qmcp.AttachDeviceAIManaged', {
      ...{ device_class: 'block', backend: 'ai-other', device_id: 'sda', frontend: 'ai-idle' },
    }),
    findings: { before: ['unknown'], between: [], after: ['unknown'] },
  },
  {
    title: 'a plan of three steps that is asked',
    ...ASKED,
    ...runsPlan([
      [SET, label],
      [LIFECYCLE, { name: 'ai-idle', action: 'start' }],
      [LIFECYCLE, { name: 'ai-other', action: 'remove' }],
    ]),
    findings: OF_PLAN,
  },
  {
    title: 'a plan that creates',
    ...UNASKED,
    ...runsPlan([
      ['qmcp.SpawnAIManagedQube', { name: 'ai-new', template: 'ai-debian' }],
      [SET, { ...label, name: 'ai-new' }],
      [LIFECYCLE, { name: 'ai-new', action: 'start' }],
    ]),
    findings: OF_PLAN,
  },
  {
    title: 'an undo of a property',
    ...UNASKED,
    earlier: (caller) => caller.call(SET, label),
    ...undoesFirst,
    undoable: true,
  },
  {
    title: 'an undo of a removal',
    ...UNASKED,
    operatorFiles: TOMBSTONES,
    earlier: (caller) => caller.call(LIFECYCLE, removal),
    ...undoesFirst,
  },
];

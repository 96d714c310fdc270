// Why a call can be refused opaquely without anybody being asked, and the calls that can be refused so.
import type { FleetSpec } from '../qubesd/fleet.ts';

/** So many qubes of each kind, so that no two calls at a time are about the same. */
const EACH = 40;
const nameOf = (kind: string, index: number): string => `ai-${kind}${String(index).padStart(3, '0')}`;

/** The reasons, each with the calls that meet it: the same request about a qube of another kind, or from another source. */
export const REASONS = {
  missing: { kind: 'a', source: 'mcp-control' },
  unmanaged: { kind: 'b', source: 'mcp-control' },
  'under-tier': { kind: 'c', source: 'mcp-control' },
  guarded: { kind: 'd', source: 'mcp-control' },
  'out-of-quota': { kind: 'e', source: 'agent-spent' },
  frozen: { kind: 'e', source: 'agent-frozen' },
} as const;
export type Reason = keyof typeof REASONS;

const tagsOf: Readonly<Record<string, readonly string[]>> = {
  b: [],
  c: ['ai-managed'],
  d: ['ai-managed', 'ai-full'],
  e: ['ai-managed', 'ai-full'],
};

export const FLEET: FleetSpec = {
  qubes: {
    ...Object.fromEntries(['mcp-control', 'agent-spent', 'agent-frozen'].map((name) => [name, { state: 'Running' }])),
    'debian-13': { klass: 'TemplateVM' },
    'ai-front': { tags: ['ai-managed', 'ai-full'], props: { template: 'debian-13' } },
    ...Object.fromEntries(
      Object.entries(tagsOf).flatMap(([kind, tags]) =>
        Array.from({ length: EACH }, (_, index) => [nameOf(kind, index), { tags, props: { template: 'debian-13' } }]),
      ),
    ),
  },
};

/** Below `<etc>`: every change needs a tier tag, and everything about the guarded is asked where nobody can be. */
export const OPERATOR_FILES: Readonly<Record<string, string>> = {
  'consent-policy': '# nothing is asked\n',
  'tier-default': 'ro\n',
  'pool-cap': '1099511627776\n',
  guarded: Array.from({ length: EACH }, (_, index) => `${nameOf('d', index)}\n`).join(''),
};
/** Below `<etc>/principals`. */
export const PRINCIPALS: Readonly<Record<string, object>> = {
  'all.json': { unsigned: true, sources: 'any', ceiling: 'full' },
  'spent.json': { unsigned: true, sources: ['agent-spent'], ceiling: 'full', per_hour: { calls: 0 } },
};
/** `<state>/frozen` */
export const FROZEN = 'agent-frozen\n';

const READS: readonly Reason[] = ['missing', 'unmanaged', 'out-of-quota', 'frozen'];
const CHANGES: readonly Reason[] = ['missing', 'unmanaged', 'under-tier', 'out-of-quota', 'frozen'];
const ASKED: readonly Reason[] = [...CHANGES, 'guarded'];

export interface Case {
  readonly service: string;
  readonly request: (name: string) => unknown;
  readonly reasons: readonly Reason[];
}

/** Every service that can refuse opaquely. `guarded` where a question would be the only obstacle. */
export const CASES: readonly Case[] = [
  { service: 'qmcp.GetPropertyAIManaged', request: (name) => ({ name, property: 'label' }), reasons: READS },
  { service: 'qmcp.ListAttachedDevicesAIManaged', request: (name) => ({ name, device_class: 'usb' }), reasons: READS },
  { service: 'qmcp.GetFirewallAIManaged', request: (name) => ({ name }), reasons: READS },
  { service: 'qmcp.AIManagedEvents', request: (name) => ({ duration: 1, qube: name }), reasons: READS },
  { service: 'qmcp.LifecycleAIManaged', request: (name) => ({ name, action: 'start' }), reasons: ASKED },
  {
    service: 'qmcp.SetPropertyAIManaged',
    request: (name) => ({ name, property: 'label', value: 'red' }),
    reasons: ASKED,
  },
  {
    service: 'qmcp.SetFeatureAIManaged',
    request: (name) => ({ name, feature: 'menu-items', value: 'x' }),
    reasons: CHANGES,
  },
  { service: 'qmcp.SetFirewallAIManaged', request: (name) => ({ name, rules: ['action=drop'] }), reasons: ASKED },
  {
    service: 'qmcp.AttachDeviceAIManaged',
    request: (name) => ({ device_class: 'usb', backend: name, frontend: 'ai-front', device_id: '1-1' }),
    reasons: CHANGES,
  },
  {
    service: 'qmcp.DetachDeviceAIManaged',
    request: (name) => ({ device_class: 'usb', backend: name, frontend: 'ai-front', device_id: '1-1' }),
    reasons: CHANGES,
  },
  { service: 'qmcp.SpawnAIManagedQube', request: (template) => ({ name: 'ai-new', template }), reasons: CHANGES },
  { service: 'qmcp.SpawnDisposableAIManaged', request: (template) => ({ template }), reasons: CHANGES },
  { service: 'qmcp.CloneAIManagedQube', request: (source) => ({ source, name: 'ai-copy' }), reasons: CHANGES },
  {
    service: 'qmcp.Prepare',
    request: (name) => ({ calls: [{ service: 'qmcp.LifecycleAIManaged', request: { name, action: 'start' } }] }),
    reasons: CHANGES,
  },
];

/** A name of the kind that meets the reason. */
export const anyName = (reason: Reason, below: (bound: number) => number): string =>
  nameOf(REASONS[reason].kind, below(EACH));

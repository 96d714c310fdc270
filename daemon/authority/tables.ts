// What the broker decides by, as tables (contract section 3). Everything here is meant to be read without reading code.
import type { Tier } from '../settings/settings.ts';

export type Capability = 'read' | 'exec' | 'net' | 'full' | 'dump-in';
export type Risk = 'read' | 'change' | 'destroy';

export const UMBRELLA_TAG = 'ai-managed';
export const DUMP_TAG = 'ai-dump';
export const GUARD_TAG = 'qmcp-guarded';

/** What a tier can (3.1). Net is above exec: opening a way out is the bigger grant. */
export const CAPABILITIES: ReadonlyMap<Tier, ReadonlySet<Capability>> = new Map<Tier, ReadonlySet<Capability>>([
  ['ro', new Set(['read'])],
  ['exec', new Set(['read', 'exec'])],
  ['net', new Set(['read', 'exec', 'net'])],
  ['full', new Set(['read', 'exec', 'net', 'full'])],
]);

/** Elevation tags, highest first: of several the first one counts. */
export const ELEVATIONS: readonly (readonly [tag: string, tier: Tier])[] = [
  ['ai-full', 'full'],
  ['ai-net', 'net'],
  ['ai-exec', 'exec'],
];

/** What a service needs of the qube in one role, and whether the call changes that qube or only takes from it. */
export interface Need {
  readonly capability: Capability;
  readonly changed: boolean;
}

export interface ServiceRule {
  readonly access: 'read' | 'change';
  readonly roles: ReadonlyMap<string, Need>;
  /** The actions there are and the risk of each; empty for reads, where the action decides nothing. */
  readonly actions: ReadonlyMap<string, Risk>;
}

const needs = (capability: Capability): Need => ({ capability, changed: true });
const takes = (capability: Capability): Need => ({ capability, changed: false });

const reads = (roles: Record<string, Need>): ServiceRule => ({
  access: 'read',
  roles: new Map(Object.entries(roles)),
  actions: new Map(),
});
const changes = (roles: Record<string, Need>, actions: Record<string, Risk>): ServiceRule => ({
  access: 'change',
  roles: new Map(Object.entries(roles)),
  actions: new Map(Object.entries(actions)),
});

/** Service, role, capability (3.2), and the risk of each action (product, "Risk"). What is not here is unknown, and refused. */
export const SERVICES: ReadonlyMap<string, ServiceRule> = new Map([
  ['qmcp.ListAIManagedQubes', reads({})],
  ['qmcp.AIManagedEvents', reads({})],
  ['qmcp.GetPoolStats', reads({})],
  ['qmcp.GetPropertyAIManaged', reads({ target: takes('read') })],
  ['qmcp.ListAttachedDevicesAIManaged', reads({ target: takes('read') })],
  ['qmcp.GetFirewallAIManaged', reads({ target: takes('read') })],
  [
    'qmcp.LifecycleAIManaged',
    changes(
      { target: needs('full') },
      {
        start: 'change',
        shutdown: 'change',
        pause: 'change',
        unpause: 'change',
        kill: 'destroy',
        remove: 'destroy',
      },
    ),
  ],
  ['qmcp.SetPropertyAIManaged', changes({ target: needs('full') }, { 'set-property': 'change' })],
  ['qmcp.SetFeatureAIManaged', changes({ target: needs('full') }, { 'set-feature': 'change' })],
  ['qmcp.SetFirewallAIManaged', changes({ target: needs('net') }, { 'set-firewall': 'destroy' })],
  ['qmcp.SpawnAIManagedQube', changes({ template: takes('full') }, { spawn: 'change' })],
  ['qmcp.SpawnDisposableAIManaged', changes({ dvmt: takes('full') }, { 'spawn-disposable': 'change' })],
  ['qmcp.CloneAIManagedQube', changes({ source: takes('full') }, { clone: 'change' })],
  ['qmcp.AttachDeviceAIManaged', changes({ backend: needs('full'), frontend: needs('full') }, { attach: 'destroy' })],
  ['qmcp.DetachDeviceAIManaged', changes({ backend: needs('full'), frontend: needs('full') }, { detach: 'destroy' })],
  // Decided by the qrexec policy, not by a call to the broker; here for `explain` and to compare the two.
  ['qmcp.RunInAIManaged', changes({ target: needs('exec') }, { run: 'change' })],
  ['qmcp.CopyToAIManaged', changes({ target: needs('exec') }, { copy: 'change' })],
  ['admin.vm.firewall.Get', reads({ target: takes('read') })],
  ['admin.vm.firewall.Set', changes({ target: needs('net') }, { set: 'destroy' })],
  ['admin.vm.firewall.Reload', changes({ target: needs('net') }, { reload: 'change' })],
  ['admin.vm.tag.Set', changes({ target: needs('full') }, { set: 'change' })],
  ['admin.vm.tag.Remove', changes({ target: needs('full') }, { remove: 'change' })],
  ['qubes.Filecopy', changes({ source: takes('exec'), target: needs('exec') }, { copy: 'change' })],
]);

/** Risk that hangs on the property written; null (reset) counts as any other value. */
export const DESTRUCTIVE_PROPERTIES: ReadonlySet<string> = new Set(['template']);

/** The escalation class (3.3): no tier reaches these where the mode enforces it. */
export const ESCALATION = {
  services: new Set(['admin.vm.tag.Set', 'admin.vm.tag.Remove']),
  properties: new Set(['provides_network', 'template', 'name', 'netvm']),
  /** Properties that may be written all the same if the value is null: a disconnect only takes away. */
  exceptNull: new Set(['netvm']),
  klasses: new Set(['TemplateVM']),
} as const;

/** Domination (3.4): who may run code in a qube can do these to it anyway. Pause, unpause and devices are absent on purpose. */
export const DOMINATED: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['qmcp.LifecycleAIManaged', new Set(['start', 'shutdown', 'kill', 'remove'])],
]);

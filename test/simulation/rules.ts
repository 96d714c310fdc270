// What may be done, written down once more from the contract and not from the broker's tables: which tier an action takes,
// what is asked, what an effect may consist of. The simulation judges by this.

export type Tier = 'ro' | 'exec' | 'net' | 'full';
const RUNGS: readonly Tier[] = ['ro', 'exec', 'net', 'full'];

/** What the operator has set, before it is put into files. `null`: the file is there and malformed. */
export interface Wishes {
  readonly tierDefault: 'full' | 'ro' | 'absent' | null;
  readonly mode: 'shadow' | 'strict' | 'enforce' | 'absent' | null;
  readonly consent: readonly string[] | 'absent' | null;
  readonly guarded: readonly string[] | 'absent' | null;
  readonly tombstones: 'on' | 'off' | 'absent' | null;
  readonly birthCeiling: 'ai-ro' | 'ai-exec' | 'ai-net' | 'ai-full' | 'absent' | null;
  readonly retention: number | 'absent' | null;
  readonly hasKey: boolean;
}

/** One thing that a caller wants, as far as its own words go. */
export interface Want {
  readonly service: string;
  readonly action: string;
  /** The qubes that it names, in the roles that they have. */
  readonly roles: Readonly<Record<string, string>>;
  readonly property?: string;
  readonly value?: unknown;
  readonly feature?: string;
  /** The name of what it creates, where it has one. */
  readonly creates?: string;
}

interface Service {
  readonly tier: Tier;
  /** Roles that are changed; the others are only taken from. */
  readonly changes: readonly string[];
}

const SERVICES: Readonly<Record<string, Service>> = {
  'qmcp.LifecycleAIManaged': { tier: 'full', changes: ['target'] },
  'qmcp.SetPropertyAIManaged': { tier: 'full', changes: ['target'] },
  'qmcp.SetFeatureAIManaged': { tier: 'full', changes: ['target'] },
  'qmcp.SetFirewallAIManaged': { tier: 'net', changes: ['target'] },
  'qmcp.SpawnAIManagedQube': { tier: 'full', changes: [] },
  'qmcp.SpawnDisposableAIManaged': { tier: 'full', changes: [] },
  'qmcp.CloneAIManagedQube': { tier: 'full', changes: [] },
  'qmcp.AttachDeviceAIManaged': { tier: 'full', changes: ['backend', 'frontend'] },
  'qmcp.DetachDeviceAIManaged': { tier: 'full', changes: ['backend', 'frontend'] },
};
const DESTROYS = new Set(['kill', 'remove', 'set-firewall', 'attach', 'detach']);
/** What who may run code in a qube could do anyway, where the mode enforces the kernel's rules. */
const DOMINATED = new Set(['start', 'shutdown', 'kill', 'remove']);
/** Out of every tier's reach, where the mode enforces it. */
const ESCALATES = new Set(['provides_network', 'template', 'name', 'netvm']);

const tierOf = (tags: ReadonlySet<string>, { tierDefault }: Wishes): Tier | null => {
  if (!tags.has('ai-managed')) return null;
  if (tags.has('ai-full')) return 'full';
  if (tags.has('ai-net')) return 'net';
  if (tags.has('ai-exec')) return 'exec';
  return tierDefault === 'full' || tierDefault === 'absent' ? 'full' : 'ro';
};

const reaches = (tier: Tier | null, needed: Tier): boolean =>
  tier !== null && RUNGS.indexOf(tier) >= RUNGS.indexOf(needed);

/** A qube as it was when the broker last read its tags. */
export interface Read {
  readonly name: string;
  readonly uuid: string;
  readonly tags: ReadonlySet<string>;
}

/** Whether anybody's yes at all could make this right: the umbrella and the tier of every qube in it, up to the caller's ceiling. */
export const isWithinTier = (
  want: Want,
  qubes: Readonly<Record<string, Read>>,
  wishes: Wishes,
  ceiling: Tier,
): boolean => {
  const service = SERVICES[want.service];
  if (!service) return false;
  const tiers = Object.keys(want.roles).map((role) => {
    const tier = tierOf(qubes[role]?.tags ?? new Set(), wishes);
    return tier !== null && reaches(tier, ceiling) ? ceiling : tier;
  });
  if (tiers.some((tier) => tier === null)) return false;
  const wrapper = tiers.every((tier) => reaches(tier, service.tier));
  const isDominated = want.service === 'qmcp.LifecycleAIManaged' && DOMINATED.has(want.action);
  const isEscalation =
    want.property !== undefined && ESCALATES.has(want.property) && !(want.property === 'netvm' && want.value === null);
  const kernel = !isEscalation && tiers.every((tier) => reaches(tier, isDominated ? 'exec' : service.tier));
  switch (wishes.mode) {
    case 'enforce':
      return kernel;
    case 'shadow':
    case 'absent':
      return wrapper;
    default:
      return wrapper && kernel;
  }
};

export const leavesTombstone = ({ service, action }: Want, { tombstones, mode }: Wishes): boolean =>
  service === 'qmcp.LifecycleAIManaged' &&
  action === 'remove' &&
  (tombstones === 'on' || tombstones === null || !(mode === 'shadow' || mode === 'absent'));

/** Whether a person has to say yes. */
export const isAsked = (want: Want, qubes: Readonly<Record<string, Read>>, wishes: Wishes): boolean => {
  const { consent, guarded } = wishes;
  if (guarded === null) return true;
  const listed = guarded === 'absent' ? [] : guarded;
  const changes = SERVICES[want.service]?.changes ?? [];
  for (const role of Object.keys(want.roles)) {
    const qube = qubes[role];
    if (!qube) return true;
    if (listed.includes(qube.name) || listed.includes(qube.uuid)) return true;
    if (changes.includes(role) && qube.tags.has('qmcp-guarded') && !leavesTombstone(want, wishes)) return true;
  }
  const isDestructive = DESTROYS.has(want.action) || want.property === 'template';
  if ((consent === 'absent' || consent === null) && isDestructive) return true;
  const entries = consent === 'absent' || consent === null ? [] : consent;
  return entries.some((entry) =>
    ['*', `${want.service}:${want.action}`, `${want.service}:*`, `*:${want.action}`].includes(entry),
  );
};

/** Tags that the broker may write. */
export const VOCABULARY = /^(?:ai-(?:managed|exec|net|full|dump)|qmcp-[A-Za-z0-9_-]+|anon-vm)$/;
export const TOMBSTONE = /^qmcp-tombstone_([0-9]+)$/;

const VERBS: Readonly<Record<string, string>> = {
  start: 'admin.vm.Start',
  shutdown: 'admin.vm.Shutdown',
  kill: 'admin.vm.Kill',
  pause: 'admin.vm.Pause',
  unpause: 'admin.vm.Unpause',
  remove: 'admin.vm.Remove',
};

/** Whether this Admin API call on a qube in a changed role is one that the wish consists of. */
export const isPartOf = ({ service, action, property, feature }: Want, method: string, arg: string): boolean => {
  switch (service) {
    case 'qmcp.LifecycleAIManaged':
      if (action === 'remove' && /^admin\.vm\.tag\.(?:Set|Remove)$/.test(method)) return VOCABULARY.test(arg);
      return method === VERBS[action];
    case 'qmcp.SetPropertyAIManaged':
      return method === 'admin.vm.property.Set' && arg === property;
    case 'qmcp.SetFeatureAIManaged':
      return method === 'admin.vm.feature.Set' && arg === feature;
    case 'qmcp.SetFirewallAIManaged':
      return method === 'admin.vm.firewall.Set' || method === 'admin.vm.firewall.Reload';
    default:
      return false;
  }
};

export const CREATES: ReadonlySet<string> = new Set([
  'qmcp.SpawnAIManagedQube',
  'qmcp.SpawnDisposableAIManaged',
  'qmcp.CloneAIManagedQube',
]);

const ROLES: Readonly<Record<string, readonly (readonly [role: string, key: string])[]>> = {
  'qmcp.SpawnAIManagedQube': [['template', 'template']],
  'qmcp.SpawnDisposableAIManaged': [['dvmt', 'template']],
  'qmcp.CloneAIManagedQube': [['source', 'source']],
  'qmcp.AttachDeviceAIManaged': [
    ['backend', 'backend'],
    ['frontend', 'frontend'],
  ],
  'qmcp.DetachDeviceAIManaged': [
    ['backend', 'backend'],
    ['frontend', 'frontend'],
  ],
};
const ACTIONS: Readonly<Record<string, string>> = {
  'qmcp.SetPropertyAIManaged': 'set-property',
  'qmcp.SetFeatureAIManaged': 'set-feature',
  'qmcp.SetFirewallAIManaged': 'set-firewall',
  'qmcp.SpawnAIManagedQube': 'spawn',
  'qmcp.SpawnDisposableAIManaged': 'spawn-disposable',
  'qmcp.CloneAIManagedQube': 'clone',
  'qmcp.AttachDeviceAIManaged': 'attach',
  'qmcp.DetachDeviceAIManaged': 'detach',
};

/** What a call wants, by its own words; null for one that wants to change nothing, or is not understood. */
export const wantOf = (service: string, request: unknown): Want | null => {
  if (!SERVICES[service] || typeof request !== 'object' || request === null) return null;
  const fields = request as Readonly<Record<string, unknown>>;
  const text = (key: string): string => (typeof fields[key] === 'string' ? (fields[key] as string) : '');
  const roles = Object.fromEntries((ROLES[service] ?? [['target', 'name']]).map(([role, key]) => [role, text(key)]));
  return {
    service,
    action: ACTIONS[service] ?? text('action'),
    roles,
    ...(service === 'qmcp.SetPropertyAIManaged' && { property: text('property'), value: fields.value }),
    ...(service === 'qmcp.SetFeatureAIManaged' && { feature: text('feature'), value: fields.value }),
    ...(CREATES.has(service) && service !== 'qmcp.SpawnDisposableAIManaged' && { creates: text('name') }),
  };
};

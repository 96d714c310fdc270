// The decision once more, written from the sentences of the contract (sections 1.2, 1.14, 3 and the table of section 0) and
// sharing nothing with the code under test but its input type: ranks and lists of reasons instead of tables and first match.
import type { DecisionInput, Verdict } from '../../daemon/authority/decide.ts';

const RANKS = ['nothing', 'read', 'exec', 'net', 'full'];

/** "no ai-managed: none"; "several elevations: the highest only"; "no elevation: tier-default". */
function rankOf(tags: ReadonlySet<string>, tierDefault: string, ceiling: string | null | undefined): number {
  if (!tags.has('ai-managed')) return 0;
  let rank = 0;
  if (tags.has('ai-exec')) rank = 2;
  if (tags.has('ai-net')) rank = 3;
  if (tags.has('ai-full')) rank = 4;
  if (rank === 0) rank = tierDefault === 'full' ? 4 : 1;
  if (ceiling === null || ceiling === undefined) return rank;
  return Math.min(rank, ['no such tier', 'ro', 'exec', 'net', 'full'].indexOf(ceiling));
}

/** Section 3.2 in the order of its lines, then ours. A question mark after a role: the call takes from it and does not change it. */
const SERVICE_LINES = `
  Lifecycle, SetProperty, SetFeature | target: full
  Clone | source?: full
  Spawn | template?: full
  SpawnDisposable | dvmt?: full
  Attach, Detach | backend: full, frontend: full
  GetProperty, ListAttachedDevices | target: read
  List, AIManagedEvents, GetPoolStats |
  RunIn, CopyTo | target: exec
  admin.vm.firewall.Get | target: read
  admin.vm.firewall.Set, admin.vm.firewall.Reload | target: net
  qubes.Filecopy | source?: exec, target: exec
  admin.vm.tag.Set, admin.vm.tag.Remove | target: full
  SetFirewall | target: net
  GetFirewall | target: read`;

const FULL_NAMES: Record<string, string> = {
  Clone: 'qmcp.CloneAIManagedQube',
  Spawn: 'qmcp.SpawnAIManagedQube',
  Attach: 'qmcp.AttachDeviceAIManaged',
  Detach: 'qmcp.DetachDeviceAIManaged',
  List: 'qmcp.ListAIManagedQubes',
  AIManagedEvents: 'qmcp.AIManagedEvents',
  GetPoolStats: 'qmcp.GetPoolStats',
};

const ACTIONS: Record<string, string[]> = {
  'qmcp.LifecycleAIManaged': ['kill', 'pause', 'remove', 'shutdown', 'start', 'unpause'],
  'qmcp.SetPropertyAIManaged': ['set-property'],
  'qmcp.SetFeatureAIManaged': ['set-feature'],
  'qmcp.CloneAIManagedQube': ['clone'],
  'qmcp.SpawnAIManagedQube': ['spawn'],
  'qmcp.SpawnDisposableAIManaged': ['spawn-disposable'],
  'qmcp.AttachDeviceAIManaged': ['attach'],
  'qmcp.DetachDeviceAIManaged': ['detach'],
  'qmcp.RunInAIManaged': ['run'],
  'qmcp.CopyToAIManaged': ['copy'],
  'qmcp.SetFirewallAIManaged': ['set-firewall'],
  'admin.vm.firewall.Set': ['set'],
  'admin.vm.firewall.Reload': ['reload'],
  'admin.vm.tag.Set': ['set'],
  'admin.vm.tag.Remove': ['remove'],
  'qubes.Filecopy': ['copy'],
};

interface Line {
  role: string;
  takesOnly: boolean;
  rank: number;
}
const LINES = new Map<string, Line[]>();
for (const line of SERVICE_LINES.trim().split('\n')) {
  const [names = '', roles = ''] = line.split('|');
  const parsed = [...roles.matchAll(/(\w+)(\??): (\w+)/g)].map(([, role = '', mark, capability = '']) => ({
    role,
    takesOnly: mark === '?',
    rank: RANKS.indexOf(capability),
  }));
  for (const name of names.split(',').map((each) => each.trim())) {
    LINES.set(FULL_NAMES[name] ?? (name.includes('.') ? name : `qmcp.${name}AIManaged`), parsed);
  }
}

export const SERVICE_NAMES = [...LINES.keys()];
export const actionsOf = (service: string): string[] => ACTIONS[service] ?? ['read'];
export const rolesOf = (service: string): string[] => (LINES.get(service) ?? []).map(({ role }) => role);

export function decideByProse({ service, action, attributes, roles, settings, ceiling }: DecisionInput): Verdict {
  const refuse = (rule: string): Verdict => ({ kind: 'refuse', rule });
  const lines = LINES.get(service);
  if (lines === undefined) return refuse('unknown-service');
  const actions = ACTIONS[service];
  if (actions !== undefined && !actions.includes(action)) return refuse('unknown-action');

  // "required target missing", "any target outside the umbrella" - "no-target services skip this".
  if (lines.some(({ role }) => roles[role] === undefined)) return refuse('no-target');
  const qubes = Object.values(roles);
  if (lines.length > 0 && qubes.some(({ tags }) => !tags.has('ai-managed'))) return refuse('outside-umbrella');

  const ranks = new Map(
    Object.entries(roles).map(([role, { tags }]) => [role, rankOf(tags, settings.tierDefault, ceiling)]),
  );
  const short = lines.find(({ role, rank }) => (ranks.get(role) ?? 0) < rank);
  const tierSays = short === undefined ? null : `insufficient:${RANKS[short.rank]}`;

  // "the umbrella is the read floor": no mode, no guard, no question.
  if (actions === undefined) return tierSays === null ? { kind: 'allow', rule: 'ladder' } : refuse(tierSays);

  const { property, value, klass } = attributes;
  const escalation =
    service.startsWith('admin.vm.tag.') ||
    klass === 'TemplateVM' ||
    ['provides_network', 'template', 'name'].includes(property ?? '') ||
    (property === 'netvm' && value !== null);
  const dominated =
    service === 'qmcp.LifecycleAIManaged' &&
    ['start', 'shutdown', 'kill', 'remove'].includes(action) &&
    lines.every(({ role }) => (ranks.get(role) ?? 0) >= 2);
  const kernelSays = escalation ? 'escalation-class' : dominated ? null : tierSays;

  const mode = ['shadow', 'enforce'].includes(settings.enforceMode) ? settings.enforceMode : 'strict';
  const no = { shadow: tierSays, strict: kernelSays ?? tierSays, enforce: kernelSays }[mode];
  if (no !== null && no !== undefined) return refuse(no);

  // The default gate set of section 2, and the other two that product.md counts as destroying: template change and firewall.
  const destroys =
    (service === 'qmcp.LifecycleAIManaged' && ['kill', 'remove'].includes(action)) ||
    ['attach', 'detach', 'set-firewall'].includes(action) ||
    service === 'admin.vm.firewall.Set' ||
    property === 'template';

  // From here on it is a yes, and the only question is whether a person is asked first.
  const reasons = [
    settings.guardedUnreadable && 'guarded-unreadable',
    qubes.some(({ guarded }) => guarded) && 'guarded',
    Object.entries(roles).some(
      ([role, { tags }]) => tags.has('qmcp-guarded') && !lines.some((line) => line.role === role && line.takesOnly),
    ) && 'guarded',
    settings.consentPolicy.builtIn && destroys && 'consent-policy',
    [...settings.consentPolicy.asked].some((entry) => {
      const [s, a] = entry.split(':');
      return (s === '*' || s === service) && (a === '*' || a === action);
    }) && 'consent-policy',
  ];
  const reason = reasons.find((each) => each !== false);
  if (reason) return { kind: 'ask', rule: reason };
  return { kind: 'allow', rule: tierSays === null ? 'ladder' : 'dominated:exec' };
}

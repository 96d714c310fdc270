// The kernel's verdict (contract 3.3 and 3.4) and the wrapper's (1.14), and how the mode combines them (3.5). Pure.
import type { Tier } from '../settings/settings.ts';
import { capabilitiesOf, type Tags } from './capabilities.ts';
import { type Capability, DOMINATED, ESCALATION, SERVICES, type ServiceRule, UMBRELLA_TAG } from './tables.ts';

/** What of the arguments the decision depends on. `value` is looked at for being null and for nothing else. */
export interface Attributes {
  readonly property?: string;
  readonly value?: unknown;
  readonly klass?: string;
  /** A removal that leaves a tombstone: it destroys nothing and keeps the qube's guard tag. */
  readonly tombstone?: boolean;
}

/** One qube of the call. `guarded`: on the operator's list, by name or uuid (`isListed`). */
export interface RoleFacts {
  readonly tags: Tags;
  readonly guarded: boolean;
}
export type Roles = Readonly<Record<string, RoleFacts>>;

export interface KernelInput {
  readonly service: string;
  readonly action: string;
  readonly attributes: Attributes;
  readonly roles: Roles;
  readonly tierDefault: 'full' | 'ro';
  readonly guardedUnreadable: boolean;
  /** The highest tier the principal may use, over whatever the tags grant. */
  readonly ceiling?: Tier | null | undefined;
}

export interface KernelVerdict {
  readonly kind: 'allow' | 'gate' | 'deny';
  readonly rule: string;
}

const deny = (rule: string): KernelVerdict => ({ kind: 'deny', rule });

/** The first rule that applies, in the order of 3.4. */
export function kernelVerdict(input: KernelInput): KernelVerdict {
  const { service, roles } = input;
  const rule = SERVICES.get(service);
  if (rule === undefined) return deny('unknown-service');
  const scope = outOfScope(rule, roles);
  if (scope !== null) return deny(scope);
  if (isEscalation(service, rule, input.attributes)) return deny('escalation-class');
  if (input.guardedUnreadable !== false) return { kind: 'gate', rule: 'guarded-unreadable' };
  if (Object.values(roles).some(({ guarded }) => guarded !== false)) return { kind: 'gate', rule: 'guarded' };
  if (isDominated(input, rule)) return { kind: 'allow', rule: 'dominated:exec' };
  const missing = insufficient(input, rule);
  return missing === null ? { kind: 'allow', rule: 'ladder' } : deny(missing);
}

/** What a service's own tier check says (1.14): null if it passes, else the rule that fails. */
export function wrapperRefusal(input: KernelInput): string | null {
  const rule = SERVICES.get(input.service);
  if (rule === undefined) return 'unknown-service';
  return outOfScope(rule, input.roles) ?? insufficient(input, rule);
}

/** How a mode combines the two (3.5): an unknown mode is strict, an unknown kernel verdict a deny. */
export function combine(mode: string, wrapperAllowed: boolean, kernel: string): KernelVerdict['kind'] {
  const wrapper = wrapperAllowed === true ? 'allow' : 'deny';
  const verdict = kernel === 'allow' || kernel === 'gate' ? kernel : 'deny';
  if (mode === 'shadow') return wrapper;
  if (mode === 'enforce') return verdict;
  return wrapper === 'deny' ? 'deny' : verdict;
}

/** No-target services are in scope whatever qubes came with the call. */
function outOfScope(rule: ServiceRule, roles: Roles): string | null {
  if (rule.roles.size === 0) return null;
  for (const role of rule.roles.keys()) if (!Object.hasOwn(roles, role)) return 'no-target';
  return Object.values(roles).every(({ tags }) => tags.has(UMBRELLA_TAG)) ? null : 'outside-umbrella';
}

function isEscalation(service: string, rule: ServiceRule, { property, value, klass }: Attributes): boolean {
  if (rule.access === 'read') return false;
  if (ESCALATION.services.has(service)) return true;
  if (klass !== undefined && ESCALATION.klasses.has(klass)) return true;
  if (property === undefined || !ESCALATION.properties.has(property)) return false;
  return !(ESCALATION.exceptNull.has(property) && value === null);
}

const isDominated = (input: KernelInput, rule: ServiceRule): boolean =>
  (DOMINATED.get(input.service)?.has(input.action) ?? false) &&
  [...rule.roles.keys()].every((role) => can(input, role, 'exec'));

function insufficient(input: KernelInput, rule: ServiceRule): string | null {
  for (const [role, { capability }] of rule.roles) {
    if (!can(input, role, capability)) return `insufficient:${capability}`;
  }
  return null;
}

const can = ({ roles, tierDefault, ceiling }: KernelInput, role: string, capability: Capability): boolean => {
  const facts = roles[role];
  return facts !== undefined && capabilitiesOf(facts.tags, tierDefault, ceiling).has(capability);
};

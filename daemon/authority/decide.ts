// May it? One pure function from what is asked and what the operator set to allow, ask or refuse (contract section 3, changed by section 0).
import type { ConsentPolicy, EnforceMode, Settings, Tier } from '../settings/settings.ts';
import { type Attributes, combine, type KernelInput, kernelVerdict, type Roles, wrapperRefusal } from './kernel.ts';
import { DESTRUCTIVE_PROPERTIES, GUARD_TAG, type Risk, SERVICES, type ServiceRule } from './tables.ts';

/** The rule names are listed in README.md beside this file. */
export interface Verdict {
  readonly kind: 'allow' | 'ask' | 'refuse';
  readonly rule: string;
}

/** The part of the settings that decides. */
export interface DecisiveSettings {
  readonly tierDefault: 'full' | 'ro';
  readonly enforceMode: EnforceMode;
  readonly consentPolicy: ConsentPolicy;
  readonly guardedUnreadable: boolean;
}

export interface DecisionInput {
  readonly service: string;
  /** The contract's action word: the verb for Lifecycle, `set-property`, `spawn`, ...; anything for reads. */
  readonly action: string;
  readonly attributes: Attributes;
  /** The qubes by the role names of `SERVICES`. */
  readonly roles: Roles;
  readonly settings: DecisiveSettings;
  /** The highest tier the principal may use; undefined or null where it has no ceiling of its own. */
  readonly ceiling?: Tier | null | undefined;
}

export const decisive = ({ tierDefault, enforceMode, consentPolicy, guarded }: Settings): DecisiveSettings => ({
  tierDefault,
  enforceMode,
  consentPolicy,
  guardedUnreadable: guarded.unreadable,
});

/** The verdict on one operation. Never throws: whatever it cannot make sense of is refused (I7). */
export function decide(input: DecisionInput): Verdict {
  try {
    return verdictOn(input);
  } catch {
    return { kind: 'refuse', rule: 'kernel-error' };
  }
}

function verdictOn(input: DecisionInput): Verdict {
  const rule = SERVICES.get(input.service);
  if (rule === undefined) return { kind: 'refuse', rule: 'unknown-service' };
  if (rule.access === 'read') return readVerdict(input);
  if (!rule.actions.has(input.action)) return { kind: 'refuse', rule: 'unknown-action' };
  const bare = withoutGuard(input);
  // A guard and a policy only ever turn allow into ask: a person's yes grants nothing that the tier does not.
  if (bare.kind === 'refuse') return bare;
  const asked = guardOn(input, rule) ?? consentFor(input);
  return asked === null ? bare : { kind: 'ask', rule: asked };
}

/** Reads take the umbrella and the capability; no mode, guard or policy touches them (1.2). */
function readVerdict(input: DecisionInput): Verdict {
  const refusal = wrapperRefusal(kernelInput(input));
  return refusal === null ? { kind: 'allow', rule: 'ladder' } : { kind: 'refuse', rule: refusal };
}

/** Tier and kernel as the mode combines them, with every guard left aside. */
function withoutGuard(input: DecisionInput): Verdict {
  const facts = kernelInput(input);
  const refusal = wrapperRefusal(facts);
  const kernel = kernelVerdict(facts);
  if (combine(input.settings.enforceMode, refusal === null, kernel.kind) === 'allow') {
    return { kind: 'allow', rule: refusal === null ? 'ladder' : kernel.rule };
  }
  const rule = kernel.kind === 'allow' || input.settings.enforceMode === 'shadow' ? refusal : kernel.rule;
  return { kind: 'refuse', rule: rule ?? 'kernel-error' };
}

const kernelInput = ({ service, action, attributes, roles, settings, ceiling }: DecisionInput): KernelInput => ({
  service,
  action,
  attributes,
  roles: Object.fromEntries(Object.entries(roles).map(([role, { tags }]) => [role, { tags, guarded: false }])),
  tierDefault: settings.tierDefault,
  guardedUnreadable: false,
  ceiling: ceiling ?? null,
});

/**
 * In every mode (section 0). The operator's list guards a qube in any role and against everything; the tag in those roles
 * that the call changes, and not against a removal that leaves a tombstone with the tag on it (vector C38).
 */
function guardOn({ roles, settings, attributes }: DecisionInput, rule: ServiceRule): string | null {
  if (settings.guardedUnreadable !== false) return 'guarded-unreadable';
  const isGuarded = Object.entries(roles).some(
    ([role, { tags, guarded }]) =>
      guarded !== false ||
      (rule.roles.get(role)?.changed !== false && tags.has(GUARD_TAG) && attributes.tombstone !== true),
  );
  return isGuarded ? 'guarded' : null;
}

function consentFor({ service, action, attributes, settings }: DecisionInput): string | null {
  const { builtIn, asked } = settings.consentPolicy;
  if (builtIn !== false && riskOf(service, action, attributes) === 'destroy') return 'consent-policy';
  const entries = [`${service}:${action}`, `${service}:*`, `*:${action}`, '*:*'];
  return entries.some((entry) => asked.has(entry)) ? 'consent-policy' : null;
}

/** The risk of an operation (product, "Risk"); `destroy` is what the built-in consent set asks. What is unknown counts as `destroy`. */
export function riskOf(service: string, action: string, { property }: Attributes = {}): Risk {
  const rule = SERVICES.get(service);
  if (rule?.access === 'read') return 'read';
  if (property !== undefined && DESTRUCTIVE_PROPERTIES.has(property)) return 'destroy';
  return rule?.actions.get(action) ?? 'destroy';
}

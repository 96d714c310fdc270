// What would be decided about a call, by the very resolution that decides calls, on the facts of this moment. Nothing is
// journalled as a caller's and nothing is counted against one.
import { tierOf } from '../authority/capabilities.ts';
import { decide, decisive } from '../authority/decide.ts';
import { isListed } from '../authority/guarded.ts';
import { SERVICES as RULES } from '../authority/tables.ts';
import { asMet } from '../confirm/normal.ts';
import { readQube } from '../fleet/live.ts';
import { isQubeName, type QubeName } from '../names.ts';
import { type Caller, DEFAULT_PRINCIPAL } from '../principals/caller.ts';
import { isInScope } from '../principals/scope.ts';
import { mayRead } from '../principals/verdict.ts';
import type { Refusal } from '../qrexec/door.ts';
import { isManaged, type Qube, realTags } from '../qube.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { SERVICES } from '../services/registry.ts';
import { QUARANTINE, resolve } from '../services/resolve.ts';
import { type ChangeService, isRefusal, type ReadService } from '../services/service.ts';
import type { Settings } from '../settings/settings.ts';
import type { Explanation } from './answers.ts';
import type { ControlParts } from './parts.ts';
import { declined, done, type Said } from './socket.ts';

interface Asked {
  readonly service: string;
  /** The body of the call, as the caller would send it. */
  readonly body: string;
  readonly source: QubeName;
  /** Who would sign it; null for an unsigned call. */
  readonly principal: string | null;
}

type Finding = Pick<Explanation, 'verdict' | 'rule'> &
  Partial<Omit<Explanation, 'reply'>> & { readonly reply?: Refusal | null };

const PLANS = new Set(['qmcp.Prepare', 'qmcp.Commit', 'qmcp.Status', 'qmcp.Cancel']);
const AWAY = 'qubesd cannot be asked just now, so every call that needs it is refused. See qmcpctl doctor.';

export const explain = async (asked: Asked, parts: ControlParts): Promise<Said> => {
  const { service: name, source } = asked;
  const settings = parts.settings.current();
  const caller = callerOf(asked, parts);
  const explained = (finding: Finding): Said =>
    done({
      ...blank(name, source, caller, settings),
      ...finding,
      reply: finding.reply ? { ...finding.reply } : null,
    } satisfies Explanation);

  if (PLANS.has(name)) return declined('A plan is decided step by step: explain its steps one at a time.');
  const service = SERVICES.get(name);
  if (!service && !RULES.has(name)) return explained({ verdict: 'refuse', rule: 'unknown-service' });
  if ('rule' in caller) return explained({ verdict: 'refuse', rule: caller.rule });
  try {
    if (service?.kind === 'change') return explained(await ofChange(service, asked.body, caller, settings, parts));
    return explained(await ofRest(name, service, asked.body, caller, settings, parts));
  } catch (error) {
    if (error instanceof AdminError) return declined(AWAY);
    throw error;
  }
};

/** As `Principals.admit` has it, without a signature to check. */
const callerOf = ({ source, principal }: Asked, { registry }: ControlParts): Caller | { readonly rule: string } => {
  if (principal !== null) {
    const of = registry.signed(principal, source);
    return of ? { source, principal: of.name, signed: true, limits: of.limits } : { rule: 'principal-unknown' };
  }
  const unsigned = registry.unsigned(source);
  if (unsigned === null) return { rule: 'principal-unsigned' };
  if (unsigned.kind === 'default') return { source, principal: DEFAULT_PRINCIPAL };
  return { source, principal: unsigned.of.name, limits: unsigned.of.limits };
};

const ofChange = async (
  service: ChangeService,
  body: string,
  caller: Caller,
  settings: Settings,
  parts: ControlParts,
): Promise<Finding> => {
  const json = jsonOf(body);
  const wish = json === null ? service.malformed : service.parse(json.value, settings);
  if (isRefusal(wish)) return { verdict: 'refuse', rule: 'argument', reply: wish };
  const { action } = wish;
  if (parts.restraint.isFrozen(caller.source)) {
    return { verdict: 'refuse', rule: 'frozen', action, reply: service.opaque };
  }
  const facts = recording(parts.callers);
  const hands = { admin: facts.admin, tools: parts.tools };
  const resolved = await resolve(service, wish, caller, hands, settings, parts.now());
  const qubes = Object.entries(wish.roles).map(([role, name]) => fact(role, name, facts.of(name), settings));
  if (resolved.kind === 'refused') {
    return { verdict: 'refuse', rule: resolved.rule, action, qubes, reply: resolved.refusal };
  }
  const { operation, verdict } = resolved;
  if (verdict.kind === 'allow') return { verdict: 'allow', rule: verdict.rule, action, qubes, reply: null };
  const ofCall = { source: caller.source, principal: caller.principal, service: service.name, action, args: wish.args };
  const { lines, type_to_confirm } = asMet(await operation.describe(), ofCall, parts.acquaintance);
  const unasked = whyUnasked(operation.obstacle, caller, parts);
  const reply = unasked === null ? null : (operation.obstacle ?? service.opaque);
  return {
    verdict: 'ask',
    rule: verdict.rule,
    action,
    qubes,
    question: { lines: [...lines], type_to_confirm },
    unasked,
    reply,
  };
};

/** A word of ours for what keeps the question off the screen, or unanswerable. */
const whyUnasked = (obstacle: Refusal | null, caller: Caller, parts: ControlParts): string | null => {
  if (obstacle) return 'obstacle';
  if (parts.restraint.resting.some(({ source }) => source === caller.source)) return 'questions-rest';
  if (!parts.principals.hasQuestionLeft(caller)) return 'principal-questions';
  if (parts.settings.current().confirmKey === null) return 'no-key';
  return parts.fleet.isStanding ? null : 'no-events';
};

/** Reads, and services that the qrexec policy decides: only the tables are asked. */
const ofRest = async (
  name: string,
  service: ReadService | undefined,
  body: string,
  caller: Caller,
  settings: Settings,
  parts: ControlParts,
): Promise<Finding> => {
  const rule = RULES.get(name);
  if (!rule) return { verdict: 'refuse', rule: 'unknown-service' };
  const refused = (why: string): Finding => ({ verdict: 'refuse', rule: why, reply: service?.malformed ?? null });
  const json = jsonOf(body);
  if (json === null && service?.malformed !== null) return refused('argument');
  if (service && parts.restraint.isFrozen(caller.source)) return refused('frozen');
  if (service && !mayRead(caller)) return refused('principal-risk');
  const qubes: Record<string, Qube> = {};
  for (const role of rule.roles.keys()) {
    const named = nameIn(json?.value, role);
    const qube = named === null ? null : await readQube(parts.callers, named);
    if (!qube) return { ...refused('missing'), qubes: [fact(role, named ?? '', null, settings)] };
    qubes[role] = qube;
  }
  const [action = ''] = rule.actions.keys();
  const facts = Object.entries(qubes).map(([role, qube]) => fact(role, qube.name, qube, settings));
  const hidden = Object.values(qubes).some((qube) => isManaged(qube) && !isInScope(qube, caller));
  if (hidden) return { ...refused('principal-names'), qubes: facts };
  const verdict = decide({
    service: name,
    action,
    attributes: {},
    roles: Object.fromEntries(
      Object.entries(qubes).map(([role, qube]) => [
        role,
        { tags: qube.tags ?? new Set<string>(), guarded: isListed(qube, settings.guarded) },
      ]),
    ),
    settings: decisive(settings),
    ceiling: caller.limits?.ceiling,
  });
  const by = service ? 'broker' : 'policy';
  const isHeld = Object.values(qubes).some(({ quarantined }) => quarantined !== undefined);
  return { verdict: verdict.kind, rule: isHeld ? QUARANTINE : verdict.rule, action, qubes: facts, decided_by: by };
};

/** Where a request has the name of the qube in a role. */
const nameIn = (json: unknown, role: string): string | null => {
  const fields = typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
  const name = fields[role] ?? fields.name;
  return isQubeName(name) ? name : null;
};

/** The JSON in a body, where nothing stands for `{}` as it does in a call; null where it is none. */
const jsonOf = (body: string): { readonly value: unknown } | null => {
  if (body === '') return { value: {} };
  try {
    return { value: JSON.parse(body) };
  } catch {
    return null;
  }
};

/** The same hands, and what rows and tags they came upon. */
const recording = (admin: Admin): { readonly admin: Admin; readonly of: (name: string) => Qube | null } => {
  const rows = new Map<string, Row>();
  const tags = new Map<string, Set<string>>();
  return {
    admin: {
      ...admin,
      row: async (name) => {
        const row = await admin.row(name);
        if (row) rows.set(name, row);
        return row;
      },
      tags: async (dest) => {
        const read = await admin.tags(dest);
        if (dest !== 'dom0' && 'uuid' in dest) tags.set(dest.uuid, read);
        return read;
      },
    },
    of: (name) => {
      const row = rows.get(name);
      return row ? { ...row, tags: tags.get(row.uuid) ?? null } : null;
    },
  };
};

const fact = (role: string, name: string, qube: Qube | null, settings: Settings): Explanation['qubes'][number] => {
  const tags = qube && realTags(qube);
  return {
    role,
    name,
    uuid: qube?.uuid ?? null,
    klass: qube?.klass ?? null,
    state: qube?.state ?? null,
    tags: tags && [...tags].sort(),
    tier: tags && tierOf(tags, settings.tierDefault),
    guarded: qube !== null && isListed(qube, settings.guarded),
  };
};

const blank = (
  service: string,
  source: QubeName,
  caller: Caller | { readonly rule: string },
  { tierDefault, enforceMode, consentPolicy }: Settings,
): Omit<Explanation, 'verdict' | 'rule' | 'reply'> => ({
  service,
  action: '',
  source,
  principal: 'principal' in caller ? caller.principal : 'unknown',
  decided_by: 'broker',
  ceiling: ('limits' in caller && caller.limits?.ceiling) || null,
  qubes: [],
  settings: {
    tier_default: tierDefault,
    enforce_mode: enforceMode,
    consent_policy: !consentPolicy.builtIn ? 'file' : consentPolicy.asked.size > 0 ? 'file and built-in' : 'built-in',
  },
  question: null,
  unasked: null,
});

// Stations operation and verdict: names become qubes as they are now, authority decides, and what would happen is put
// into one digest. Run once before the question and once after the answer, it must come out the same (I2).
import { createHash } from 'node:crypto';
import { isControlled } from '../authority/birth.ts';
import { decide, decisive, riskOf, type Verdict } from '../authority/decide.ts';
import { isListed } from '../authority/guarded.ts';
import { readQube } from '../fleet/live.ts';
import { canonical } from '../journal/canonical.ts';
import type { NamedQube } from '../journal/record.ts';
import type { Digest, Uuid } from '../names.ts';
import { matches, type NamePatterns } from '../principals/patterns.ts';
import { principalVerdict } from '../principals/verdict.ts';
import type { Refusal } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import type { Tools } from '../qubesadmin/tool.ts';
import type { Settings } from '../settings/settings.ts';
import { type Caller, type ChangeService, isRefusal, type Operation, type Scene, type Wish } from './service.ts';

export interface Resolved {
  readonly kind: 'resolved';
  readonly verdict: Verdict & { readonly kind: 'allow' | 'ask' };
  readonly operation: Operation;
  readonly qubes: readonly NamedQube[];
  readonly digest: Digest;
}

export interface Refused {
  readonly kind: 'refused';
  readonly refusal: Refusal;
  readonly rule: string;
  readonly qubes: readonly NamedQube[];
}

/** What reads facts and does effects: the real thing, or a rehearsal of it. */
export interface Hands {
  readonly admin: Admin;
  readonly fleet?: Scene['fleet'];
  readonly tools: Tools;
}

/** The uuids that stood in, while a plan was shown, for qubes that its own steps create. */
export interface StandIns {
  /** The stand-in of a qube that was created meanwhile; any other uuid is its own. */
  of(uuid: Uuid): Uuid;
  has(uuid: Uuid): boolean;
}

const NONE: StandIns = { of: (uuid) => uuid, has: () => false };

/** The rule of a refusal because of a qube that is in quarantine, or in the making. */
export const QUARANTINE = 'quarantine';

const DIGEST_CONTEXT = 'qmcp-operation-v1\0';

/** The qubes that a wish names, as they are now. */
interface Looked {
  /** What the arguments alone come to. */
  readonly early: Refusal | null;
  /** By role; without those that are not there. */
  readonly qubes: Readonly<Record<string, Qube>>;
  readonly named: readonly NamedQube[];
  readonly isMissing: boolean;
}

/**
 * The reads that come before any verdict, the same for each (I6): who is refused for what they are takes them in vain. Rejects
 * with `AdminError` when qubesd cannot be asked.
 */
export const look = async (
  wish: Wish,
  caller: Caller,
  { admin, tools }: Hands,
  settings: Settings,
): Promise<Looked> => {
  // I6: whether a name is taken is told of such names only as the caller may claim; authority refuses the others below. Who is
  // refused anyway is not told by the number of reads either, so none is spared by it.
  const early = (mayClaim(wish, caller) && (await wish.before?.({ admin, tools, settings, caller }))) || null;
  const qubes: Record<string, Qube> = {};
  const named: NamedQube[] = [];
  let isMissing = false;
  for (const [role, name] of Object.entries(wish.roles)) {
    const qube = await readQube(admin, name);
    // I6: the other roles are looked up all the same, as they are when this one is not managed.
    isMissing ||= qube === null;
    if (!qube) continue;
    qubes[role] = qube;
    named.push({ role, name: qube.name, uuid: qube.uuid });
  }
  return { early, qubes, named, isMissing };
};

/** Resolves and decides one wish by live facts, at `now` in milliseconds since 1970. Rejects with `AdminError` when qubesd cannot be asked. */
export const resolve = async (
  service: ChangeService,
  wish: Wish,
  caller: Caller,
  hands: Hands,
  settings: Settings,
  now: number,
  standIns: StandIns = NONE,
): Promise<Resolved | Refused> => {
  const { early, qubes, named, isMissing } = await look(wish, caller, hands, settings);
  const refused = (refusal: Refusal, rule: string): Refused => ({ kind: 'refused', refusal, rule, qubes: named });
  if (early) return refused(early, 'argument');
  if (isMissing) return refused(service.opaque, 'missing');

  const decided = decide({
    service: service.name,
    action: wish.action,
    attributes: wish.attributes,
    roles: Object.fromEntries(
      Object.entries(qubes).map(([role, qube]) => [
        role,
        { tags: qube.tags ?? new Set<string>(), guarded: isListed(qube, settings.guarded) },
      ]),
    ),
    settings: decisive(settings),
    ceiling: caller.limits?.ceiling,
  });
  const risk = riskOf(service.name, wish.action, wish.attributes);
  // Other calls claim names only so that nobody changes what they refer to.
  const created = wish.budgeted ? (wish.claims ?? []) : [];
  const deed = { service: service.name, risk, qubes, created, now };
  const verdict = principalVerdict(decided, caller, deed);
  if (verdict.kind === 'refuse') {
    // I6: the caller is told the same as of a qube that is not managed; the journal tells the operator why it is none.
    const isHeld = Object.values(qubes).some(({ quarantined }) => quarantined !== undefined);
    return refused(service.opaque, isHeld ? QUARANTINE : verdict.rule);
  }

  const { admin, fleet, tools } = hands;
  const operation = await wish.prepare({ admin, fleet, tools, settings, caller, now, qubes });
  if (isRefusal(operation)) return refused(operation, 'argument');
  return {
    kind: 'resolved',
    verdict: { ...verdict, kind: verdict.kind },
    operation,
    qubes: named,
    digest: digestOf(service, wish, caller, qubes, operation, standIns),
  };
};

const mayClaim = ({ claims = [] }: Wish, { limits }: Caller): boolean =>
  !limits?.names || claims.every((name) => matches(limits.names as NamePatterns, name));

/** What the person's yes is bound to: who asks, for what, on exactly which qubes with which tags and state. */
const digestOf = (
  service: ChangeService,
  wish: Wish,
  caller: Caller,
  qubes: Readonly<Record<string, Qube>>,
  operation: Operation,
  standIns: StandIns,
): Digest => {
  const bound = canonical({
    service: service.name,
    action: wish.action,
    source: caller.source,
    principal: caller.principal,
    // As JSON text: it may hold strings that have no canonical form.
    request: JSON.stringify(wish.request),
    qubes: Object.entries(qubes).map(([role, { name, uuid, klass, state, tags }]) => {
      const identity = standIns.of(uuid);
      // Of a qube that was not there yet, the platform's own tags could not be foreseen; the ones that decide could.
      const decisive = [...(tags ?? [])].filter((tag) => !standIns.has(identity) || isControlled(tag)).sort();
      return { role, name, uuid: identity, klass, state, tags: decisive };
    }),
    facts: operation.facts,
  });
  return createHash('sha256').update(DIGEST_CONTEXT).update(bound).digest('hex') as Digest;
};

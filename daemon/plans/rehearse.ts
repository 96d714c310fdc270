// Walking through a plan without doing anything: every step is decided and checked on what the earlier ones would leave.
import { createHash } from 'node:crypto';
import type { BrokerParts } from '../broker.ts';
import type { View } from '../confirm/question.ts';
import { FleetView } from '../fleet/view.ts';
import { canonical } from '../journal/canonical.ts';
import type { NamedQube } from '../journal/record.ts';
import type { Digest, QubeName, Uuid } from '../names.ts';
import { scopedTo } from '../principals/scope.ts';
import type { Reply } from '../qrexec/door.ts';
import { adminOver, type Row } from '../qubesadmin/admin.ts';
import type { AdminCall } from '../qubesadmin/client.ts';
import type { Tools } from '../qubesadmin/tool.ts';
import type { Resolved } from '../services/resolve.ts';
import type { Caller, ReadService, Work } from '../services/service.ts';
import type { Walk } from '../walk.ts';
import { Rehearsal } from './rehearsal.ts';

/** A step on its way: a change, or a read with the reply it has had since Prepare. */
export type Stage =
  | { readonly kind: 'read'; readonly service: ReadService; readonly json: unknown; reply: Reply | null }
  | { readonly kind: 'change'; readonly walk: Walk };

export interface RehearsedStep {
  /** Counted from 1, reading steps included. */
  readonly step: number;
  readonly resolved: Resolved;
  /** What its own question would say, at its place in the plan; null where no words were wanted. */
  readonly view: View | null;
}

export interface Rehearsed {
  /** One per changing step, in order. */
  readonly resolved: readonly RehearsedStep[];
  readonly verdict: 'allow' | 'ask';
  readonly digest: Digest;
  /** Stand-ins for the qubes that the plan creates. */
  readonly born: ReadonlyMap<QubeName, Uuid>;
  /** The qubes there are already, each once. */
  readonly qubes: readonly NamedQube[];
}

const DIGEST_CONTEXT = 'qmcp-plan-v1\0';

/** Tools that do nothing and succeed: whether they will is known only when they run. */
const REHEARSED_TOOLS: Tools = { has: async () => true, run: async () => ({ kind: 'done' }) };

/**
 * Rehearses all stages over `real`. null where any step is refused, would fail, or has an obstacle; a plan with such a
 * step is refused whole. `seed` makes the stand-ins' uuids: with the same facts the same seed gives the same digest.
 * Rejects with `AdminError` when qubesd refuses what it is asked, or would refuse a step, or cannot be asked.
 */
export const rehearse = async (
  stages: readonly Stage[],
  real: AdminCall,
  seed: string,
  caller: Caller,
  parts: BrokerParts,
  words: 'in words' | 'without words' = 'without words',
): Promise<Rehearsed | null> => {
  const rehearsal = new Rehearsal(askedOnce(real), (name) => standInUuid(seed, name));
  const standIns = { of: (uuid: Uuid) => uuid, has: (uuid: Uuid) => [...rehearsal.born.values()].includes(uuid) };
  // One that a step creates is whole by the next, and has a name that was free, so that nothing left behind has it.
  const isHeld = (row: Row): boolean => !standIns.has(row.uuid) && parts.quarantine.holds(row);
  const hands = { admin: adminOver(rehearsal.call, isHeld), tools: REHEARSED_TOOLS };
  const resolved: RehearsedStep[] = [];
  const bound: unknown[] = [];
  // A reading step sees the whole fleet as it would be; it stays so until the next change.
  let fleet: FleetView | null = null;
  const viewed = adminOver(rehearsal.call, (row) => isHeld(row) && parts.quarantine.keeps(row));

  for (const [index, stage] of stages.entries()) {
    if (stage.kind === 'read') {
      fleet ??= new FleetView(viewed);
      stage.reply ??= await read(stage, fleet, hands.admin, caller, parts);
      if (!stage.reply.ok) return null;
      bound.push({ service: stage.service.name, request: JSON.stringify(stage.json) });
      continue;
    }
    const outcome = await stage.walk.resolve(hands, standIns, words === 'in words' ? 'all' : 'refusals');
    if (outcome.kind === 'refused') return null;
    fleet = null;
    const view = words === 'in words' ? await outcome.operation.describe() : null;
    resolved.push({ step: index + 1, resolved: outcome, view });
    bound.push(outcome.digest);
    if (!(await outcome.operation.perform(rehearsedWork(parts))).ok) return null;
  }

  const born = rehearsal.born;
  const standing = new Set<string>(born.values());
  const named = resolved.flatMap(({ resolved: { qubes } }) => qubes).filter(({ uuid }) => !standing.has(uuid));
  const verdict = resolved.some(({ resolved: { verdict } }) => verdict.kind === 'ask') ? 'ask' : 'allow';
  // As with a single call, what stands in the way counts before a question; without one qubesd is the judge.
  if (verdict === 'ask' && resolved.some(({ resolved: { operation } }) => operation.obstacle)) return null;
  return {
    resolved,
    verdict,
    digest: createHash('sha256').update(DIGEST_CONTEXT).update(canonical(bound)).digest('hex') as Digest,
    born,
    qubes: [...new Map(named.map((qube) => [qube.uuid, { ...qube, role: 'named' }])).values()],
  };
};

/** Each thing once in one rehearsal: 32 creations that each want every volume's size would keep qubesd from everybody else. */
const askedOnce = (real: AdminCall): AdminCall => {
  const answers = new Map<string, Promise<Buffer>>();
  return (request) => {
    const key = JSON.stringify(request);
    const answer = answers.get(key) ?? real(request);
    answers.set(key, answer);
    return answer;
  };
};

const read = async (
  { service, json }: Extract<Stage, { kind: 'read' }>,
  fleet: FleetView,
  admin: ReturnType<typeof adminOver>,
  caller: Caller,
  { settings, stopping, notice, now }: BrokerParts,
): Promise<Reply> =>
  service.answer(json, {
    fleet: scopedTo(caller, fleet),
    whole: fleet,
    admin,
    settings: settings.current(),
    caller,
    now,
    stopping,
    notice: (sentence) => notice(sentence, service.name),
  });

/** Nothing of a rehearsal is journalled or waited for. */
const rehearsedWork = ({ now }: BrokerParts): Work => ({
  now,
  step: async () => {},
  keep: async () => {},
  pause: async () => {},
  changed: () => {},
  cause: () => {},
  order: () => ({ found: () => {}, whole: () => {}, over: () => {} }),
  quarantine: async () => {},
  left: () => {},
  cameToNothing: async () => {},
});

/** A uuid of version 8 (RFC 9562: custom) that no qube has. */
const standInUuid = (seed: string, name: string): Uuid => {
  const hex = createHash('sha256').update(`${seed}\0${name}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}` as Uuid;
};

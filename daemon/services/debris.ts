// What a crash left (I4, R23), and what a creation left that could not take away again what it had made: intents without
// outcome are looked at, never retried. After a crash a qube that is provably a creation's and not whole goes; one that cannot
// go loses what makes it usable, and is in quarantine; all else is named in the journal.
import { isTombstoneMarker } from '../authority/tombstone.ts';
import type { Journal } from '../journal/journal.ts';
import { COMPLETE, LEFT, PLAN_STEP, type UnfinishedIntent } from '../journal/open-intents.ts';
import type { Finding, NamedQube } from '../journal/record.ts';
import type { UndoEntry } from '../journal/undo-entry.ts';
import { isQubeName, isUuid, type Uuid } from '../names.ts';
import { type PowerState, UMBRELLA } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { CREATE } from './birth.ts';
import {
  CREATIONS,
  createdBy,
  type Found,
  isReleased,
  keepAll,
  type Look as LookAtCreation,
  orderOf,
  StillToCome,
} from './creation-debris.ts';
import { lifecycle } from './lifecycle.ts';
import { MAY_COME_MS, type Order } from './quarantine.ts';
import { setFeature } from './set-feature.ts';
import { setFirewall } from './set-firewall.ts';
import { setProperty } from './set-property.ts';
import { changedBy, type Standing, standingOf } from './take-back.ts';

/** What was found about one intent; `finding` is null where it stays open: nobody could be asked, or it may still come about. */
export interface Settled {
  readonly intent: UnfinishedIntent;
  readonly finding: Finding['finding'] | null;
  /** The qubes that it is about: those created where it creates, else those it names. */
  readonly qubes: readonly NamedQube[];
  /** With null: what stood in the way, for the log. */
  readonly why?: string;
  /** With null: what was ordered may still come until then. Milliseconds since 1970. */
  readonly mayComeUntil?: number;
  /** The operator has let go of what it left. */
  readonly isReleased?: boolean;
}

/** What a creation of this start leaves: the qube, or null where nobody saw it. */
export interface Left {
  /** Of its intent. */
  readonly seq: number;
  readonly child: NamedQube | null;
  readonly order: Order;
}

/** What changes kept for their undo, with which it can be seen whether they were made. */
export interface Kept {
  get(seq: number): UndoEntry | null;
  /** Whether an entry of that time, milliseconds since 1970, would be there. */
  remembers(at: number): boolean;
}

const NOTHING_KEPT: Kept = { get: () => null, remembers: () => false };

interface Look extends LookAtCreation {
  readonly kept: Kept;
}
type Examine = (intent: UnfinishedIntent, look: Look) => Promise<Found>;

export interface SettlingParts {
  readonly unfinished: readonly UnfinishedIntent[];
  readonly admin: Admin;
  readonly journal: Pick<Journal, 'append'>;
  readonly quarantine: Look['quarantine'];
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly undo?: Kept;
  readonly alone: Look['alone'];
  readonly betweenCreations: Look['betweenCreations'];
  /** Calls back once, after that many milliseconds. */
  readonly after: (ms: number, work: () => Promise<void>) => unknown;
  /** Told of each intent that was settled, and of those that were not whenever the reason is a new one. */
  readonly report: (settled: Settled) => void;
}

const RETRY_MS = 30_000;
/** By then the reply has gone out, and what it says of the moment is true no longer than that (vector S72). */
export const LEFT_AFTER_MS = 10_000;

/**
 * Settles the intents of earlier starts, and tries again for as long as qubesd cannot be asked. Resolves after the first try. From
 * the moment it is called no call changes what an open creation may have left (I8).
 */
export const startSettling = async (parts: SettlingParts, first = true): Promise<void> => {
  const orders = new Map(parts.unfinished.map((intent) => [intent.seq, orderOf(intent, parts.quarantine)]));
  await settling(parts, { orders, first, looks: 0, reported: new Map() });
};

/** The same for what a creation leaves now, some seconds after its reply. Its order ends when that of the settling stands. */
export const settleLeft = (
  parts: Omit<SettlingParts, 'unfinished'> & { readonly journal: Pick<Journal, 'unfinished'> },
  { seq, child, order }: Left,
): void => {
  const look = async (): Promise<void> => {
    const intent = parts.journal.unfinished().find((each) => each.seq === seq);
    // Without its intent, which is a journal that lost records, the order is all that holds it.
    if (!intent) {
      parts.after(MAY_COME_MS, async () => order.over());
      return;
    }
    const steps = [...intent.steps, { step: LEFT, qube: child, known: null }];
    const settling = startSettling({ ...parts, unfinished: [{ ...intent, steps }] }, false);
    order.over();
    await settling;
  };
  parts.after(LEFT_AFTER_MS, look);
};

interface Round {
  readonly orders: ReadonlyMap<number, Order | null>;
  readonly first: boolean;
  readonly looks: number;
  /** Why they stayed open the last time, by number. */
  readonly reported: ReadonlyMap<number, string>;
}

const settling = async (parts: SettlingParts, { orders, first, looks, reported }: Round): Promise<void> => {
  const { unfinished, after, report } = parts;
  if (unfinished.length === 0) return;
  const settled = await settle(parts, first, looks);
  for (const { finding, intent } of settled) if (finding !== null) orders.get(intent.seq)?.over();
  for (const each of settled) if (each.finding !== null || reported.get(each.intent.seq) !== each.why) report(each);
  const open = settled.filter(({ finding }) => finding === null);
  if (open.length === 0) return;
  const whys = new Map(open.map(({ intent, why = '' }) => [intent.seq, why]));
  const again = { ...parts, unfinished: open.map(({ intent }) => intent) };
  after(RETRY_MS, () => settling(again, { orders, first: false, looks: looks + 1, reported: whys }));
};

/**
 * Looks at each intent and journals what became of it. `first`: no call was answered since the broker started; `looks`: how often
 * this life has looked before.
 */
export const settle = async (
  parts: Omit<SettlingParts, 'after' | 'report'>,
  first: boolean,
  looks = Number.POSITIVE_INFINITY,
): Promise<Settled[]> => {
  const settled: Settled[] = [];
  // What is there is rather the last one's than an earlier one's that nobody has seen anything of so far.
  const inTurn = parts.unfinished.toSorted((a, b) => Number(b.current) - Number(a.current));
  for (const intent of inTurn) {
    const { undo = NOTHING_KEPT, now, journal, ...rest } = parts;
    settled.push(await settleOne(intent, { ...rest, kept: undo, first, looks, now: now() }, journal));
  }
  return settled;
};

const settleOne = async (intent: UnfinishedIntent, look: Look, journal: SettlingParts['journal']): Promise<Settled> => {
  const { seq: intent_seq, service, action, args } = intent;
  try {
    const { finding, qubes } = await examine(intent, look);
    // Before the finding closes the intent: by then a later start has to know of it by itself.
    if (finding === 'half-done' || finding === 'unknown') await keepAll(qubes, intent, look);
    await journal.append({ type: 'finding', intent_seq, service, action, finding, qubes });
    if (finding === 'not-done' && CREATIONS.has(service) && isQubeName(args.name)) {
      await look.quarantine.forget(args.name);
    }
    const uuid = createdBy(intent.steps)?.uuid;
    return { intent, finding, qubes, isReleased: isUuid(uuid) && isReleased(intent, uuid, look.quarantine) };
  } catch (error) {
    // Whatever it was, the intent stays open and the broker starts.
    const why = error instanceof Error ? error.message : 'unknown';
    if (error instanceof StillToCome) {
      return { intent, finding: null, qubes: error.qubes, why, mayComeUntil: error.until };
    }
    return { intent, finding: null, qubes: namedIn(intent), why };
  }
};

/** Rejects with `AdminError` when qubesd is away; what it refuses to tell is unknown, unless it is about what a creation left. */
const examine: Examine = async (intent, look) => {
  const { service, steps } = intent;
  try {
    return await (EXAMINE.get(service) ?? unknown)(intent, look);
  } catch (error) {
    if (!(error instanceof AdminError) || error.isAway) throw error;
    if (CREATIONS.has(service) && !steps.some(({ step }) => step === COMPLETE)) throw error;
    return unknown(intent, look);
  }
};

/** Every qube that the journal knows it to be about. */
const namedIn = ({ qubes, steps }: UnfinishedIntent): NamedQube[] => {
  const created = createdBy(steps);
  return created ? [...qubes, created] : [...qubes];
};

/** What became of it, for the operator. */
export const settledText = ({ intent, finding, qubes, mayComeUntil, isReleased: isFree }: Settled): string => {
  const begun = `${intent.service} ${intent.action} was begun at ${intent.ts}`;
  const names = [...new Set([...qubes.map(({ name }) => name), ...orderedBy(intent, finding)])].join(', ');
  switch (finding) {
    case 'done':
      return `${begun}, and was done.`;
    case 'not-done':
      return `${begun}, and was not done.`;
    case 'half-done':
      if (isFree) return `${begun}, and left ${names} half-done, which has been released since.`;
      return `${begun}, and left ${names} half-done. Look at it in dom0 and remove or mend it.`;
    case 'unknown':
      return `${begun}, and may have been done or not. Look in dom0 at: ${names || 'the qubes of that time'}.`;
    case null:
      if (mayComeUntil !== undefined) {
        const until = new Date(mayComeUntil).toISOString();
        const sofar = qubes.length > 0 ? `may have made ${names}, in quarantine now` : 'nothing of it is there yet';
        return `${begun}, and ${sofar}. Until ${until} the broker keeps looking; there is nothing to do.`;
      }
      return `${begun}. qubesd or the journal cannot be asked what became of it${names && ` (${names})`}; the broker tries again.`;
  }
};

/** Nobody saw the qube that was ordered, so only its name is known. */
const orderedBy = ({ steps, args }: UnfinishedIntent, finding: Settled['finding']): string[] =>
  finding === null && steps.some(({ step }) => step === CREATE) && isQubeName(args.name) ? [args.name] : [];

const unknown: Examine = async (intent) => ({ finding: 'unknown', qubes: namedIn(intent) });

// ---- lifecycle: what the qube is like now says whether it happened

const REACHED: Readonly<Record<string, { readonly done: PowerState; readonly undone: PowerState }>> = {
  start: { done: 'Running', undone: 'Halted' },
  shutdown: { done: 'Halted', undone: 'Running' },
  kill: { done: 'Halted', undone: 'Running' },
  pause: { done: 'Paused', undone: 'Running' },
  unpause: { done: 'Running', undone: 'Paused' },
};

const transition: Examine = async ({ action, qubes }, { admin }) => {
  const uuid = qubes.find(({ role }) => role === 'target')?.uuid;
  if (!isUuid(uuid)) return { finding: 'unknown', qubes };
  const row = await admin.rowOf(uuid);
  if (action === 'reap') return { finding: row ? 'not-done' : 'done', qubes };
  if (action === 'remove') return { finding: row ? await removal(uuid, admin) : 'done', qubes };
  const { done, undone } = REACHED[action] ?? {};
  return { finding: row?.state === done ? 'done' : row?.state === undone ? 'not-done' : 'unknown', qubes };
};

/** A qube that is still there is a tombstone, or untouched, or between the two. */
const removal = async (uuid: Uuid, admin: Admin): Promise<Finding['finding']> => {
  const tags = await admin.tags({ uuid });
  const marked = [...tags].some(isTombstoneMarker);
  if (marked === tags.has(UMBRELLA)) return 'half-done';
  return marked ? 'done' : 'not-done';
};

// ---- changes of a value: what was kept for their undo says what they made of what

/** No entry, although it would be here: the effect comes after its entry, so it never began. */
const change: Examine = async ({ seq, ts, qubes }, { admin, kept }) => {
  const entry = kept.get(seq);
  if (!entry) return { finding: kept.remembers(Date.parse(ts)) ? 'not-done' : 'unknown', qubes };
  return { finding: MADE[(await standing(entry, admin)) ?? 'other'], qubes };
};

/** null where the qube is gone. */
const standing = async ({ change, qube: { uuid } }: UndoEntry, admin: Admin): Promise<Standing | null> => {
  if (!(await admin.rowOf(uuid))) return null;
  const changed = changedBy(change, uuid, admin);
  return standingOf(changed, await changed.read());
};

const MADE: Readonly<Record<Standing, Finding['finding']>> = {
  made: 'done',
  before: 'not-done',
  between: 'half-done',
  other: 'unknown',
};
const UNDONE: typeof MADE = { ...MADE, made: 'not-done', before: 'done' };

// ---- plans: the journal itself says how far they got

const plan: Examine = async ({ steps, args, qubes }) => {
  const count = (which: string): number => steps.filter(({ step }) => step === which).length;
  const done = count(PLAN_STEP.done);
  const finding = (): Finding['finding'] => {
    if (done === args.changes) return 'done';
    if (done > 0) return 'half-done';
    // One that has no outcome either has a finding of its own.
    return count(PLAN_STEP.begun) > count(PLAN_STEP.failed) ? 'unknown' : 'not-done';
  };
  return { finding: finding(), qubes };
};

// ---- the operator's own

const operators: Examine = async (intent, look) => {
  const { action, args, qubes } = intent;
  const { admin, kept } = look;
  const uuid = qubes.find(({ role }) => role === 'target')?.uuid;
  if (!isUuid(uuid)) return unknown(intent, look);
  if (action === 'undo') {
    const entry = typeof args.seq === 'number' ? kept.get(args.seq) : null;
    return { finding: entry ? UNDONE[(await standing(entry, admin)) ?? 'other'] : 'unknown', qubes };
  }
  const row = await admin.rowOf(uuid);
  if (action === 'reap-tombstone') return { finding: row ? 'not-done' : 'done', qubes };
  if (action === 'restore-tombstone' && row) return { finding: RESTORED[await removal(uuid, admin)], qubes };
  return unknown(intent, look);
};

/** Bringing back is removing in reverse. */
const RESTORED: Readonly<Record<Finding['finding'], Finding['finding']>> = {
  done: 'not-done',
  'not-done': 'done',
  'half-done': 'half-done',
  unknown: 'unknown',
};

const EXAMINE: ReadonlyMap<string, Examine> = new Map([
  ...CREATIONS,
  [lifecycle.name, transition],
  [setProperty.name, change],
  [setFeature.name, change],
  [setFirewall.name, change],
  ['qmcp.Commit', plan],
  ['qmcpctl', operators],
  ['qmcp.TombstoneReaper', transition],
]);

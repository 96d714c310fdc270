// What a crash left (I4, R23), and what a creation left that could not take away again what it had made: intents without
// outcome are looked at, never retried. After a crash a qube that is provably a creation's and not whole goes; one that cannot
// go loses what makes it usable, and is in quarantine; all else is named in the journal.
import { isControlled, isRestriction } from '../authority/birth.ts';
import { isTombstoneMarker } from '../authority/tombstone.ts';
import type { Journal } from '../journal/journal.ts';
import { COMPLETE, LEFT, PLAN_STEP, RELEASED, UNSAVED, type UnfinishedIntent } from '../journal/open-intents.ts';
import type { Finding, NamedQube } from '../journal/record.ts';
import type { UndoEntry } from '../journal/undo-entry.ts';
import { isQubeName, isUuid, type Uuid } from '../names.ts';
import { type PowerState, UMBRELLA } from '../qube.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { anotherThan, CREATE, childOf, failing, isUnfinished, namedAs, remove } from './birth.ts';
import { clone } from './clone.ts';
import { newDisposables } from './disposables.ts';
import { lifecycle } from './lifecycle.ts';
import { MAY_COME_MS, type Order, type Quarantine } from './quarantine.ts';
import { setFeature } from './set-feature.ts';
import { setFirewall } from './set-firewall.ts';
import { setProperty } from './set-property.ts';
import { spawn } from './spawn.ts';
import { spawnDisposable } from './spawn-disposable.ts';
import { changedBy, type Standing, standingOf } from './take-back.ts';

/** What was found about one intent; `finding` is null where it stays open: nobody could be asked, or it may still come about. */
export interface Settled {
  readonly intent: UnfinishedIntent;
  readonly finding: Finding['finding'] | null;
  /** The qubes that it is about: those created where it creates, else those it names. */
  readonly qubes: readonly NamedQube[];
  /** With null: what stood in the way, for the log. */
  readonly why?: string;
  /** With null: what was ordered is not there, and may come until then. Milliseconds since 1970. */
  readonly mayComeUntil?: number;
}

interface Found {
  readonly finding: Finding['finding'];
  readonly qubes: readonly NamedQube[];
}

/** What was ordered is not there yet. qubesd goes on with what the broker does not wait for any more. */
class StillToCome extends Error {
  override readonly name = 'StillToCome';
  readonly until: number;

  constructor(until: number) {
    super('what was ordered is not there yet');
    this.until = until;
  }
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

interface Look {
  readonly admin: Admin;
  readonly quarantine: SettlingParts['quarantine'];
  readonly kept: Kept;
  /** No call was answered since the broker started, so whatever a creation left stands alone. */
  readonly first: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
}
type Examine = (intent: UnfinishedIntent, look: Look) => Promise<Found>;

export interface SettlingParts {
  readonly unfinished: readonly UnfinishedIntent[];
  readonly admin: Admin;
  readonly journal: Pick<Journal, 'append'>;
  readonly quarantine: Pick<Quarantine, 'order' | 'keep' | 'has' | 'isWhole' | 'complaint'>;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly undo?: Kept;
  /** Runs work while no creation is half-way (`Broker.betweenCreations`). */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
  /** Calls back once, after that many milliseconds. */
  readonly after: (ms: number, work: () => void) => unknown;
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
  await settling(parts, orders, first);
};

/** The same for what a creation leaves now, some seconds after its reply. Its order ends when that of the settling stands. */
export const settleLeft = (
  parts: Omit<SettlingParts, 'unfinished'> & { readonly journal: Pick<Journal, 'unfinished'> },
  { seq, child, order }: Left,
): void => {
  const look = (): void => {
    const intent = parts.journal.unfinished().find((each) => each.seq === seq);
    // Without its intent the order is all that holds it.
    if (!intent) return;
    const steps = [...intent.steps, { step: LEFT, qube: child, known: null }];
    void startSettling({ ...parts, unfinished: [{ ...intent, steps }] }, false);
    order.over();
  };
  parts.after(LEFT_AFTER_MS, look);
};

const settling = async (
  parts: SettlingParts,
  orders: ReadonlyMap<number, Order | null>,
  first: boolean,
  reported: ReadonlyMap<number, string> = new Map(),
): Promise<void> => {
  const { unfinished, alone, after, report } = parts;
  if (unfinished.length === 0) return;
  const settled = await alone(() => settle(parts, first));
  for (const { finding, intent } of settled) if (finding !== null) orders.get(intent.seq)?.over();
  for (const each of settled) if (each.finding !== null || reported.get(each.intent.seq) !== each.why) report(each);
  const open = settled.filter(({ finding }) => finding === null);
  if (open.length === 0) return;
  const whys = new Map(open.map(({ intent, why = '' }) => [intent.seq, why]));
  const again = { ...parts, unfinished: open.map(({ intent }) => intent) };
  after(RETRY_MS, () => void settling(again, orders, false, whys));
};

/** null where it orders no qube, or where that is whole. */
const orderOf = ({ service, steps, args }: UnfinishedIntent, quarantine: Pick<Quarantine, 'order'>): Order | null => {
  const ordered = steps.find(({ step }) => step === CREATE);
  if (!CREATIONS.has(service) || !ordered || steps.some(({ step }) => step === COMPLETE)) return null;
  const child = createdBy(steps);
  if (child) return quarantine.order(({ uuid }) => uuid === child.uuid);
  const known = ordered.known ? new Set(ordered.known) : null;
  return quarantine.order(isQubeName(args.name) ? namedAs(args.name, known ?? undefined) : anotherThan(known));
};

/** Looks at each intent and journals what became of it. `first`: no call was answered since the broker started. */
export const settle = async (
  parts: Pick<SettlingParts, 'unfinished' | 'admin' | 'journal' | 'quarantine' | 'now' | 'undo'>,
  first: boolean,
): Promise<Settled[]> => {
  const settled: Settled[] = [];
  // What is there is rather the last one's than an earlier one's that nobody has seen anything of so far.
  const inTurn = parts.unfinished.toSorted((a, b) => Number(b.current) - Number(a.current));
  for (const intent of inTurn) settled.push(await settleOne(intent, parts, first));
  return settled;
};

const settleOne = async (
  intent: UnfinishedIntent,
  { admin, journal, quarantine, now, undo = NOTHING_KEPT }: Parameters<typeof settle>[0],
  first: boolean,
): Promise<Settled> => {
  try {
    const found = await examine(intent, { admin, quarantine, kept: undo, first, now: now() });
    if (found.finding === 'half-done' || found.finding === 'unknown') {
      // Before the finding closes the intent: by then a later start has to know of it by itself.
      for (const { role, name, uuid } of found.qubes) {
        if (role !== 'created' || !isQubeName(name) || !isUuid(uuid)) continue;
        if (isReleased(intent, uuid, quarantine)) continue;
        if (!(await quarantine.keep({ name, uuid, at: now() }))) throw new Error('the quarantine cannot be written');
      }
    }
    const { seq: intent_seq, service, action } = intent;
    await journal.append({ type: 'finding', intent_seq, service, action, ...found });
    return { intent, ...found };
  } catch (error) {
    // Whatever it was, the intent stays open and the broker starts.
    const why = error instanceof Error ? error.message : 'unknown';
    const until = error instanceof StillToCome ? { mayComeUntil: error.until } : {};
    return { intent, finding: null, qubes: namedIn(intent), why, ...until };
  }
};

/** Rejects with `AdminError` when qubesd is away; what it refuses to tell is unknown, unless it is which qube a creation left. */
const examine: Examine = async (intent, look) => {
  const { service, steps } = intent;
  try {
    return await (EXAMINE.get(service) ?? unknown)(intent, look);
  } catch (error) {
    if (!(error instanceof AdminError) || error.kind === 'unreachable' || error.kind === 'deadline') throw error;
    if (CREATIONS.has(service) && !createdBy(steps)) throw error;
    return unknown(intent, look);
  }
};

/** Every qube that the journal knows it to be about. */
const namedIn = ({ qubes, steps }: UnfinishedIntent): NamedQube[] => {
  const created = createdBy(steps);
  return created ? [...qubes, created] : [...qubes];
};

const createdBy = (steps: UnfinishedIntent['steps']): NamedQube | null =>
  steps.findLast(({ qube }) => qube?.role === 'created')?.qube ?? null;

/** What became of it, for the operator. */
export const settledText = ({ intent, finding, qubes, mayComeUntil }: Settled): string => {
  const begun = `${intent.service} ${intent.action} was begun at ${intent.ts}`;
  const names = [...new Set([...qubes.map(({ name }) => name), ...orderedBy(intent, finding)])].join(', ');
  switch (finding) {
    case 'done':
      return `${begun}, and was done.`;
    case 'not-done':
      return `${begun}, and was not done.`;
    case 'half-done':
      return `${begun}, and left ${names} half-done. Look at it in dom0 and remove or mend it.`;
    case 'unknown':
      return `${begun}, and may have been done or not. Look in dom0 at: ${names || 'the qubes of that time'}.`;
    case null:
      if (mayComeUntil !== undefined) {
        const until = new Date(mayComeUntil).toISOString();
        return `${begun}, and nothing of it is there yet. Until ${until} the broker keeps looking; there is nothing to do.`;
      }
      return `${begun}. qubesd or the journal cannot be asked what became of it${names && ` (${names})`}; the broker tries again.`;
  }
};

/** Nobody saw the qube that was ordered, so only its name is known. */
const orderedBy = ({ steps, args }: UnfinishedIntent, finding: Settled['finding']): string[] =>
  finding === null && steps.some(({ step }) => step === CREATE) && isQubeName(args.name) ? [args.name] : [];

const unknown: Examine = async (intent) => ({ finding: 'unknown', qubes: namedIn(intent) });

// ---- creations

/** What is done about a qube that an earlier life, or call, left; `isOurs`: the operator has not let go of it meanwhile. */
type Deal = (uuid: Uuid, admin: Admin, isOurs: () => boolean) => Promise<Finding['finding']>;

/** Finds what an order left that was never answered: the qubes it can only be, and whether one of them surely is it. */
type Search = (
  intent: UnfinishedIntent,
  admin: Admin,
) => Promise<{ readonly rows: readonly Row[]; readonly sure: boolean }>;

const creation =
  (search: Search): Examine =>
  async (intent, { admin, quarantine, first, now }) => {
    const { steps, ts, current } = intent;
    const child = createdBy(steps);
    if (steps.some(({ step }) => step === COMPLETE))
      return { finding: await isThere(child, admin), qubes: child ? [child] : [] };
    const isLeft = steps.some(({ step }) => step === LEFT || step === UNSAVED);
    if (child) {
      const { uuid } = child;
      if (!isUuid(uuid)) return { finding: 'unknown', qubes: [child] };
      if (quarantine.complaint !== null && isLeft) throw new Error('the quarantine cannot be read');
      const isOurs = (): boolean => !isReleased(intent, uuid, quarantine);
      const finding = await (isLeft ? disarmLeft : takeAway)(uuid, admin, isOurs);
      return { finding, qubes: [child] };
    }
    if (!steps.some(({ step }) => step === CREATE)) return { finding: 'not-done', qubes: [] };

    const { rows, sure } = await search(intent, admin);
    const candidates = rows.filter(({ uuid }) => !quarantine.isWhole(uuid));
    const qubes = candidates.map(childOf);
    const [only] = candidates;
    if (!only) {
      // By clocks that are set back, too.
      if (Math.abs(now - Date.parse(ts)) < MAY_COME_MS) throw new StillToCome(Date.parse(ts) + MAY_COME_MS);
      return { finding: 'not-done', qubes };
    }
    // Some time later, or in another life, the qube that has the name or is new may be anybody's.
    return {
      finding: sure && first && current && !isLeft ? await takeAway(only.uuid, admin, () => true) : 'unknown',
      qubes,
    };
  };

/**
 * The caller has been told that a person has to clean up, so what is left is no longer taken away, which might be work of that
 * person by now. It is disarmed, since the platform's own policy goes by tags and knows of no quarantine.
 */
const disarmLeft: Deal = async (uuid, admin, isOurs) => {
  if (!(await admin.rowOf(uuid))) return 'not-done';
  await disarm(uuid, admin, isOurs);
  return 'half-done';
};

/** Whether the operator has let go of it: since the start, in an earlier one, or by now it is in no quarantine any more. */
const isReleased = ({ steps }: UnfinishedIntent, uuid: Uuid, quarantine: Look['quarantine']): boolean => {
  const was = (name: string): boolean => steps.some(({ step, qube }) => step === name && qube?.uuid === uuid);
  const isKept = quarantine.has(uuid) || steps.some(({ step }) => step === UNSAVED);
  return quarantine.isWhole(uuid) || was(RELEASED) || (was(LEFT) && !isKept);
};

/** What was complete may have been taken away all the same, where the disk would not vouch for that step. */
const isThere = async (child: NamedQube | null, admin: Admin): Promise<Finding['finding']> =>
  isUuid(child?.uuid) && !(await admin.rowOf(child.uuid)) ? 'not-done' : 'done';

const searchSpawned: Search = async (intent, admin) => {
  const template = intent.qubes.find(({ role }) => role === 'template')?.name ?? '';
  return searchNamed(intent, intent.args.klass === 'DispVM' ? 'DispVM' : 'AppVM', template, admin);
};

const searchCloned: Search = async (intent, admin) => {
  const source = intent.qubes.find(({ role }) => role === 'source')?.uuid;
  const row = isUuid(source) ? await admin.rowOf(source) : null;
  const template = row ? (await admin.property({ uuid: row.uuid }, 'template')).text : '';
  return searchNamed(intent, row?.klass ?? '', template, admin);
};

/** The name was free when the order was given, so a qube that has it now and is just born is the one ordered. */
const searchNamed = async ({ args, steps }: UnfinishedIntent, klass: string, template: string, admin: Admin) => {
  const row = isQubeName(args.name) ? await admin.row(args.name) : null;
  return row && !notIt(steps)?.includes(row.uuid)
    ? { rows: [row], sure: await isUnfinished(row, klass, template, admin) }
    : { rows: [], sure: true };
};

const searchDisposable: Search = async ({ steps, qubes }, admin) => {
  const known = notIt(steps);
  const template = qubes.find(({ role }) => role === 'dvmt')?.name;
  const rows = isQubeName(template) ? await newDisposables(template, new Set(known), admin) : [];
  return { rows, sure: known !== null && rows.length === 1 };
};

/** The qubes that were there before, or became whole since; null where they were too many. */
const notIt = (steps: UnfinishedIntent['steps']): readonly string[] | null =>
  steps.find(({ step }) => step === CREATE)?.known ?? null;

/** A start does not wait for qubesd; it tries again later. */
const atOnce = async (): Promise<void> => {};

/** Removes an incomplete qube. One that somebody runs already is not killed unless nothing of it would last anyway. */
const takeAway: Deal = async (uuid, admin, isOurs) => {
  const row = await admin.rowOf(uuid);
  if (!row) return 'not-done';
  if (!isOurs()) return 'half-done';
  if ((row.state === 'Halted' || row.klass === 'DispVM') && (await remove(uuid, admin, atOnce))) return 'not-done';
  await disarm(uuid, admin, isOurs);
  return 'half-done';
};

/** Out of every agent's reach and off the network, as far as that goes: the umbrella first, the restrictions stay. */
const disarm = async (uuid: Uuid, admin: Admin, isOurs: () => boolean): Promise<void> => {
  const tags = await admin.tags({ uuid });
  const others = [...tags].filter((tag) => tag !== UMBRELLA && isControlled(tag) && !isRestriction(tag)).sort();
  for (const tag of [UMBRELLA, ...others]) {
    if (tags.has(tag) && isOurs()) await admin.removeTag({ uuid }, tag).catch(failing);
  }
  if (isOurs()) await admin.setProperty({ uuid }, 'netvm', '').catch(failing);
};

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

const CREATIONS: ReadonlyMap<string, Examine> = new Map([
  [spawn.name, creation(searchSpawned)],
  [spawnDisposable.name, creation(searchDisposable)],
  [clone.name, creation(searchCloned)],
]);

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

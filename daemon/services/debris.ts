// What a crash left (I4, R23): intents without outcome are looked at, never retried. A qube that is provably a creation's
// and not whole goes; one that cannot go loses what makes it usable, and is in quarantine; all else is named in the journal.
import { isControlled, isRestriction } from '../authority/birth.ts';
import { isTombstoneMarker } from '../authority/tombstone.ts';
import type { Journal } from '../journal/journal.ts';
import { COMPLETE, PLAN_STEP, UNSAVED, type UnfinishedIntent } from '../journal/open-intents.ts';
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
import type { Order, Quarantine } from './quarantine.ts';
import { setFeature } from './set-feature.ts';
import { setFirewall } from './set-firewall.ts';
import { setProperty } from './set-property.ts';
import { spawn } from './spawn.ts';
import { spawnDisposable } from './spawn-disposable.ts';
import { changedBy, type Standing, standingOf } from './take-back.ts';

/** What was found about one intent; `finding` is null where qubesd or the journal could not be asked, so it stays open. */
export interface Settled {
  readonly intent: UnfinishedIntent;
  readonly finding: Finding['finding'] | null;
  /** The qubes that it is about: those created where it creates, else those it names. */
  readonly qubes: readonly NamedQube[];
  /** With null: what stood in the way, for the log. */
  readonly why?: string;
}

interface Found {
  readonly finding: Finding['finding'];
  readonly qubes: readonly NamedQube[];
}

/** What changes kept for their undo, with which it can be seen whether they were made. */
export interface Kept {
  get(seq: number): UndoEntry | null;
  /** Whether an entry of that time, milliseconds since 1970, would be there. */
  remembers(at: number): boolean;
}

const NOTHING_KEPT: Kept = { get: () => null, remembers: () => false };

/** `first`: no call was answered since the broker started, so whatever a creation left stands alone. */
type Examine = (intent: UnfinishedIntent, admin: Admin, first: boolean, kept: Kept) => Promise<Found>;

export interface SettlingParts {
  readonly unfinished: readonly UnfinishedIntent[];
  readonly admin: Admin;
  readonly journal: Pick<Journal, 'append'>;
  readonly quarantine: Pick<Quarantine, 'order' | 'keep'>;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly undo?: Kept;
  /** Runs work while no creation is half-way (`Broker.betweenCreations`). */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
  /** Calls back once, after that many milliseconds. */
  readonly after: (ms: number, work: () => void) => unknown;
  /** Told once of each intent that was settled, and at every try of those that were not. */
  readonly report: (settled: Settled) => void;
}

const RETRY_MS = 30_000;

/**
 * Settles the intents of earlier starts, and tries again for as long as qubesd cannot be asked. Resolves after the first try. From
 * the moment it is called no call changes what an open creation may have left (I8).
 */
export const startSettling = async (parts: SettlingParts, first = true): Promise<void> => {
  const orders = new Map(parts.unfinished.map((intent) => [intent.seq, orderOf(intent, parts.quarantine)]));
  await settling(parts, orders, first);
};

const settling = async (
  parts: SettlingParts,
  orders: ReadonlyMap<number, Order | null>,
  first: boolean,
): Promise<void> => {
  const { unfinished, alone, after, report } = parts;
  if (unfinished.length === 0) return;
  const settled = await alone(() => settle(parts, first));
  for (const { finding, intent } of settled) if (finding !== null) orders.get(intent.seq)?.over();
  for (const each of settled) report(each);
  const open = settled.filter(({ finding }) => finding === null).map(({ intent }) => intent);
  if (open.length > 0) after(RETRY_MS, () => void settling({ ...parts, unfinished: open }, orders, false));
};

/** null where it orders no qube, or where that is whole. */
const orderOf = ({ service, steps, args }: UnfinishedIntent, quarantine: Pick<Quarantine, 'order'>): Order | null => {
  const ordered = steps.find(({ step }) => step === CREATE);
  if (!CREATIONS.has(service) || !ordered || steps.some(({ step }) => step === COMPLETE)) return null;
  const child = createdBy(steps);
  if (child) return quarantine.order(({ uuid }) => uuid === child.uuid);
  const known = ordered.known ? new Set(ordered.known) : null;
  return quarantine.order(isQubeName(args.name) ? namedAs(args.name) : anotherThan(known));
};

/** Looks at each intent and journals what became of it. `first`: no call was answered since the broker started. */
export const settle = async (
  parts: Pick<SettlingParts, 'unfinished' | 'admin' | 'journal' | 'quarantine' | 'now' | 'undo'>,
  first: boolean,
): Promise<Settled[]> => {
  const settled: Settled[] = [];
  for (const intent of parts.unfinished) settled.push(await settleOne(intent, parts, first));
  return settled;
};

const settleOne = async (
  intent: UnfinishedIntent,
  { admin, journal, quarantine, now, undo = NOTHING_KEPT }: Parameters<typeof settle>[0],
  first: boolean,
): Promise<Settled> => {
  try {
    const found = await examine(intent, admin, first, undo);
    if (found.finding === 'half-done' || found.finding === 'unknown') {
      // Before the finding closes the intent: by then a later start has to know of it by itself.
      for (const { role, name, uuid } of found.qubes) {
        if (role !== 'created' || !isQubeName(name) || !isUuid(uuid)) continue;
        if (!(await quarantine.keep({ name, uuid, at: now() }))) throw new Error('the quarantine cannot be written');
      }
    }
    const { seq: intent_seq, service, action } = intent;
    await journal.append({ type: 'finding', intent_seq, service, action, ...found });
    return { intent, ...found };
  } catch (error) {
    // Whatever it was, the intent stays open and the broker starts.
    return { intent, finding: null, qubes: namedIn(intent), why: error instanceof Error ? error.message : 'unknown' };
  }
};

/** Rejects with `AdminError` when qubesd is away; what it refuses to tell is unknown, unless it is which qube a creation left. */
const examine: Examine = async (intent, admin, first, kept) => {
  const { service, steps } = intent;
  try {
    return await (EXAMINE.get(service) ?? unknown)(intent, admin, first, kept);
  } catch (error) {
    if (!(error instanceof AdminError) || error.kind === 'unreachable' || error.kind === 'deadline') throw error;
    if (CREATIONS.has(service) && !createdBy(steps)) throw error;
    return unknown(intent, admin, first, kept);
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
export const settledText = ({ intent, finding, qubes }: Settled): string => {
  const begun = `${intent.service} ${intent.action} was begun before the broker last stopped`;
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
      return `${begun}. qubesd or the journal cannot be asked what became of it${names && ` (${names})`}; the broker tries again.`;
  }
};

/** Nobody saw the qube that was ordered, so only its name is known. */
const orderedBy = ({ steps, args }: UnfinishedIntent, finding: Settled['finding']): string[] =>
  finding === null && steps.some(({ step }) => step === CREATE) && isQubeName(args.name) ? [args.name] : [];

const unknown: Examine = async (intent) => ({ finding: 'unknown', qubes: namedIn(intent) });

// ---- creations

/** Finds what an order left that was never answered: the qubes it can only be, and whether one of them surely is it. */
type Search = (
  intent: UnfinishedIntent,
  admin: Admin,
) => Promise<{ readonly rows: readonly Row[]; readonly sure: boolean }>;

const creation =
  (search: Search): Examine =>
  async (intent, admin, first) => {
    const { steps } = intent;
    const child = createdBy(steps);
    if (steps.some(({ step }) => step === COMPLETE))
      return { finding: await isThere(child, admin), qubes: child ? [child] : [] };
    if (child) return { finding: await takeAway(child.uuid, admin), qubes: [child] };
    if (!steps.some(({ step }) => step === CREATE)) return { finding: 'not-done', qubes: [] };

    const { rows, sure } = await search(intent, admin);
    const qubes = rows.map(childOf);
    const [only] = rows;
    if (!only) return { finding: 'not-done', qubes };
    // Of a name that was left to a later start, the qube that has it by then may be anybody's.
    const isOurs = sure && first && !steps.some(({ step }) => step === UNSAVED);
    return { finding: isOurs ? await takeAway(only.uuid, admin) : 'unknown', qubes };
  };

/** What was complete may have been taken away all the same, where the disk would not vouch for that step. */
const isThere = async (child: NamedQube | null, admin: Admin): Promise<Finding['finding']> =>
  isUuid(child?.uuid) && !(await admin.rowOf(child.uuid)) ? 'not-done' : 'done';

const searchSpawned: Search = async ({ args, qubes }, admin) => {
  const template = qubes.find(({ role }) => role === 'template')?.name ?? '';
  return searchNamed(args.name, args.klass === 'DispVM' ? 'DispVM' : 'AppVM', template, admin);
};

const searchCloned: Search = async ({ args, qubes }, admin) => {
  const source = qubes.find(({ role }) => role === 'source')?.uuid;
  const row = isUuid(source) ? await admin.rowOf(source) : null;
  const template = row ? (await admin.property({ uuid: row.uuid }, 'template')).text : '';
  return searchNamed(args.name, row?.klass ?? '', template, admin);
};

/** The name was free when the order was given, so a qube that has it now and is just born is the one ordered. */
const searchNamed = async (name: unknown, klass: string, template: string, admin: Admin) => {
  const row = isQubeName(name) ? await admin.row(name) : null;
  return row ? { rows: [row], sure: await isUnfinished(row, klass, template, admin) } : { rows: [], sure: true };
};

const searchDisposable: Search = async ({ steps, qubes }, admin) => {
  const known = steps.find(({ step }) => step === CREATE)?.known ?? null;
  const template = qubes.find(({ role }) => role === 'dvmt')?.name;
  const rows = isQubeName(template) ? await newDisposables(template, new Set(known), admin) : [];
  return { rows, sure: known !== null && rows.length === 1 };
};

/** A start does not wait for qubesd; it tries again later. */
const atOnce = async (): Promise<void> => {};

/** Removes an incomplete qube. One that somebody runs already is not killed unless nothing of it would last anyway. */
const takeAway = async (uuid: string, admin: Admin): Promise<Finding['finding']> => {
  if (!isUuid(uuid)) return 'unknown';
  const row = await admin.rowOf(uuid);
  if (!row) return 'not-done';
  if ((row.state === 'Halted' || row.klass === 'DispVM') && (await remove(uuid, admin, atOnce))) return 'not-done';
  await disarm(uuid, admin);
  return 'half-done';
};

/** Out of every agent's reach and off the network, as far as that goes: the umbrella first, the restrictions stay. */
const disarm = async (uuid: Uuid, admin: Admin): Promise<void> => {
  const tags = await admin.tags({ uuid });
  const others = [...tags].filter((tag) => tag !== UMBRELLA && isControlled(tag) && !isRestriction(tag)).sort();
  for (const tag of [UMBRELLA, ...others]) {
    if (tags.has(tag)) await admin.removeTag({ uuid }, tag).catch(failing);
  }
  await admin.setProperty({ uuid }, 'netvm', '').catch(failing);
};

// ---- lifecycle: what the qube is like now says whether it happened

const REACHED: Readonly<Record<string, { readonly done: PowerState; readonly undone: PowerState }>> = {
  start: { done: 'Running', undone: 'Halted' },
  shutdown: { done: 'Halted', undone: 'Running' },
  kill: { done: 'Halted', undone: 'Running' },
  pause: { done: 'Paused', undone: 'Running' },
  unpause: { done: 'Running', undone: 'Paused' },
};

const transition: Examine = async ({ action, qubes }, admin) => {
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
const change: Examine = async ({ seq, ts, qubes }, admin, _, kept) => {
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

const operators: Examine = async (intent, admin, first, kept) => {
  const { action, args, qubes } = intent;
  const uuid = qubes.find(({ role }) => role === 'target')?.uuid;
  if (!isUuid(uuid)) return unknown(intent, admin, first, kept);
  if (action === 'undo') {
    const entry = typeof args.seq === 'number' ? kept.get(args.seq) : null;
    return { finding: entry ? UNDONE[(await standing(entry, admin)) ?? 'other'] : 'unknown', qubes };
  }
  const row = await admin.rowOf(uuid);
  if (action === 'reap-tombstone') return { finding: row ? 'not-done' : 'done', qubes };
  if (action === 'restore-tombstone' && row) return { finding: RESTORED[await removal(uuid, admin)], qubes };
  return unknown(intent, admin, first, kept);
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

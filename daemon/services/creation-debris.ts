// What creations left: the qube that the journal names, or whatever an order without an answer can have made (I4, I8). Only what was
// under way when the last life ended is taken away again; of all else somebody has been told, and it may be theirs by now, so it is
// put out of the agents' reach and left.
import { isControlled, isRestriction } from '../authority/birth.ts';
import { COMPLETE, LEFT, RELEASED, UNSAVED, type UnfinishedIntent } from '../journal/open-intents.ts';
import type { Finding, NamedQube } from '../journal/record.ts';
import { isQubeName, isUuid, type Uuid } from '../names.ts';
import { UMBRELLA } from '../qube.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { anotherThan, CREATE, childOf, failing, isUnfinished, namedAs, remove } from './birth.ts';
import { clone } from './clone.ts';
import { newDisposables } from './disposables.ts';
import { MAY_COME_MS, type Order, type Quarantine } from './quarantine.ts';
import { spawn } from './spawn.ts';
import { spawnDisposable } from './spawn-disposable.ts';

export interface Found {
  readonly finding: Finding['finding'];
  readonly qubes: readonly NamedQube[];
}

export interface Look {
  readonly admin: Admin;
  readonly quarantine: Pick<Quarantine, 'order' | 'keep' | 'forget' | 'has' | 'isWhole' | 'complaint'>;
  /** No call was answered since the broker started, so whatever a creation left stands alone. */
  readonly first: boolean;
  /** How often this life has looked before. */
  readonly looks: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** qubesd goes on with what the broker does not wait for any more, so an order may yet make something. */
export class StillToCome extends Error {
  override readonly name = 'StillToCome';
  /** Milliseconds since 1970. */
  readonly until: number;
  /** What it may have made so far. */
  readonly qubes: readonly NamedQube[];

  constructor(until: number, qubes: readonly NamedQube[]) {
    super(`what was ordered may still come, besides: ${qubes.map(({ name }) => name).join(', ')}`);
    this.until = until;
    this.qubes = qubes;
  }
}

/** A clock that jumps, or a machine that sleeps, does not end an order: this life must have looked for some minutes, too. */
const LOOKS_MIN = 10;

export const createdBy = (steps: UnfinishedIntent['steps']): NamedQube | null =>
  steps.findLast(({ qube }) => qube?.role === 'created')?.qube ?? null;

/** null where it orders no qube, or where that is whole. */
export const orderOf = (intent: UnfinishedIntent, quarantine: Pick<Quarantine, 'order'>): Order | null => {
  const { service, steps, args } = intent;
  if (!CREATIONS.has(service) || !has(intent, CREATE) || has(intent, COMPLETE)) return null;
  const child = createdBy(steps);
  if (child) return quarantine.order(({ uuid }) => uuid === child.uuid);
  const others = notIt(steps);
  const known = others ? new Set(others) : null;
  return quarantine.order(isQubeName(args.name) ? namedAs(args.name, known ?? undefined) : anotherThan(known));
};

const has = ({ steps }: UnfinishedIntent, name: string): boolean => steps.some(({ step }) => step === name);

/** Whether the operator has let go of it: since the start, in an earlier one, or by now it is in no quarantine any more. */
export const isReleased = (intent: UnfinishedIntent, uuid: Uuid, quarantine: Look['quarantine']): boolean => {
  const was = (name: string): boolean => intent.steps.some(({ step, qube }) => step === name && qube?.uuid === uuid);
  const isKept = quarantine.has(uuid) || has(intent, UNSAVED);
  return quarantine.isWhole(uuid) || was(RELEASED) || (was(LEFT) && !isKept);
};

/** Puts into quarantine, also for later starts, what the operator has not let go of. Rejects where that cannot be written. */
export const keepAll = async (
  qubes: readonly NamedQube[],
  intent: UnfinishedIntent,
  { quarantine, now }: Pick<Look, 'quarantine' | 'now'>,
): Promise<void> => {
  for (const { role, name, uuid } of qubes) {
    if (role !== 'created' || !isQubeName(name) || !isUuid(uuid) || isReleased(intent, uuid, quarantine)) continue;
    if (!(await quarantine.keep({ name, uuid, at: now }))) throw new Error('the quarantine cannot be written');
  }
};

/** Finds what an order left that was never answered: the qubes it can only be, and whether one of them surely is it. */
type Search = (
  intent: UnfinishedIntent,
  admin: Admin,
) => Promise<{ readonly rows: readonly Row[]; readonly sure: boolean }>;

/** `chosen`: under a name of the caller's choosing. */
const creation =
  (search: Search, { chosen }: { readonly chosen: boolean }) =>
  async (intent: UnfinishedIntent, look: Look): Promise<Found> => {
    const { admin, quarantine, first, now } = look;
    const child = createdBy(intent.steps);
    if (has(intent, COMPLETE)) return { finding: await isThere(child, admin), qubes: child ? [child] : [] };
    if (child) return { finding: await settled(child, intent, look), qubes: [child] };
    if (!has(intent, CREATE)) return { finding: 'not-done', qubes: [] };

    const { rows, sure } = await search(intent, admin);
    const candidates = rows.filter(({ uuid }) => !quarantine.isWhole(uuid));
    const qubes = candidates.map(childOf);
    const [only] = candidates;
    const takeIt = async (): Promise<Found['finding']> =>
      only && sure ? takeAway(only.uuid, admin, () => !quarantine.isWhole(only.uuid)) : only ? 'unknown' : 'not-done';
    // Nothing else gets the name while it is taken. Some time later, or in another life, who has it may be anybody.
    if (chosen && only) return { finding: first && isUnderWay(intent) ? await takeIt() : 'unknown', qubes };
    if (isOver(intent, look)) return { finding: await takeIt(), qubes };
    await keepAll(qubes, intent, { quarantine, now });
    throw new StillToCome(Date.parse(intent.ts) + MAY_COME_MS, qubes);
  };

/** Whether it was, when the last life ended. */
const isUnderWay = (intent: UnfinishedIntent): boolean => intent.current && !has(intent, LEFT) && !has(intent, UNSAVED);

/** Whether nothing comes of an order any more. Clocks are set back, too. */
const isOver = ({ ts }: UnfinishedIntent, { looks, now }: Look): boolean =>
  looks >= LOOKS_MIN && !(Math.abs(now - Date.parse(ts)) < MAY_COME_MS);

/** What was complete may have been taken away all the same, where the disk would not vouch for that step. */
const isThere = async (child: NamedQube | null, admin: Admin): Promise<Finding['finding']> =>
  isUuid(child?.uuid) && !(await admin.rowOf(child.uuid)) ? 'not-done' : 'done';

/** What becomes of a qube that a creation made and did not finish. */
const settled = async (child: NamedQube, intent: UnfinishedIntent, look: Look): Promise<Finding['finding']> => {
  const { uuid } = child;
  const { admin, quarantine } = look;
  if (!isUuid(uuid)) return 'unknown';
  const isOurs = (): boolean => !isReleased(intent, uuid, quarantine);
  // What is in quarantine somebody has been told of.
  const isUntouched = isUnderWay(intent) && !quarantine.has(uuid);
  if (!isUntouched && quarantine.complaint !== null) throw new Error('the quarantine cannot be read');
  try {
    return await (isUntouched ? takeAway : disarmed)(uuid, admin, isOurs);
  } catch (error) {
    // Until it is settled it is out of sight, too.
    if (error instanceof AdminError && !error.isAway) await keepAll([child], intent, look);
    throw error;
  }
};

// ---- what may be there of an order

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

/** Anybody may make a disposable of the same template; but nobody leaves one unused for half an hour. */
const searchDisposable: Search = async ({ steps, qubes }, admin) => {
  const known = notIt(steps);
  const template = qubes.find(({ role }) => role === 'dvmt')?.name;
  const rows = isQubeName(template) ? await newDisposables(template, new Set(known), admin) : [];
  return { rows, sure: known !== null && rows.length === 1 };
};

/** The qubes that were there before, or became whole since; null where they were too many. */
const notIt = (steps: UnfinishedIntent['steps']): readonly string[] | null =>
  steps.find(({ step }) => step === CREATE)?.known ?? null;

// ---- what is done about it

/** `isOurs`: the operator has not let go of it meanwhile. */
type Deal = (uuid: Uuid, admin: Admin, isOurs: () => boolean) => Promise<Finding['finding']>;

/** A start does not wait for qubesd; it tries again later. */
const atOnce = async (): Promise<void> => {};

/** Removes an incomplete qube. One that somebody runs already is not killed unless nothing of it would last anyway. */
const takeAway: Deal = async (uuid, admin, isOurs) => {
  const row = await admin.rowOf(uuid);
  if (!row) return 'not-done';
  const isUnused = row.state === 'Halted' || row.klass === 'DispVM';
  if (isOurs() && isUnused && (await remove(uuid, admin, atOnce))) return 'not-done';
  return disarmed(uuid, admin, isOurs);
};

/**
 * Takes the umbrella and the tier from it, and then the network, as far as it was still armed: after that the platform's own policy,
 * which goes by tags and knows of no quarantine, has nothing to do with it either. The restrictions stay. Rejects where it did not help.
 */
const disarmed: Deal = async (uuid, admin, isOurs) => {
  const row = await admin.rowOf(uuid);
  if (!row) return 'not-done';
  const arms = armsIn(await admin.tags({ uuid }));
  const netvm = await admin.property({ uuid }, 'netvm');
  // One that runs without being armed is the operator's by now, with a network of theirs.
  const isCut = netvm.text !== '' && (arms.length > 0 || netvm.isDefault || row.state === 'Halted');
  for (const tag of arms) if (isOurs()) await admin.removeTag({ uuid }, tag).catch(failing);
  if (isCut && isOurs()) await admin.setProperty({ uuid }, 'netvm', '').catch(failing);
  if ((arms.length === 0 && !isCut) || !isOurs()) return 'half-done';
  const left = armsIn(await admin.tags({ uuid })).length > 0 || (await admin.property({ uuid }, 'netvm')).text !== '';
  if (left && isOurs()) throw new Error('what it left still has its tags or its network');
  return 'half-done';
};

/** The umbrella first. */
const armsIn = (tags: ReadonlySet<string>): string[] => {
  const others = [...tags].filter((tag) => tag !== UMBRELLA && isControlled(tag) && !isRestriction(tag)).sort();
  return tags.has(UMBRELLA) ? [UMBRELLA, ...others] : others;
};

export const CREATIONS: ReadonlyMap<string, ReturnType<typeof creation>> = new Map([
  [spawn.name, creation(searchSpawned, { chosen: true })],
  [spawnDisposable.name, creation(searchDisposable, { chosen: false })],
  [clone.name, creation(searchCloned, { chosen: true })],
]);

// What creations left: the qube that the journal names, or whatever an order without an answer can have made (I4, I8). Only what was
// under way when the last life ended is taken away again; of all else somebody has been told, and it may be theirs by now, so it is
// put out of the agents' reach and left.
import { isControlled, isRestriction } from '../authority/birth.ts';
import { COMPLETE, LEFT, RELEASED, UNSAVED, type UnfinishedIntent } from '../journal/open-intents.ts';
import type { Finding, NamedQube } from '../journal/record.ts';
import { isQubeName, isUuid, type QubeName, type Uuid } from '../names.ts';
import { UMBRELLA } from '../qube.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { anotherThan, type Child, CREATE, childOf, failing, isUnfinished, namedAs, remove } from './birth.ts';
import { clone } from './clone.ts';
import { isDisposableOf } from './disposables.ts';
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
  /** Runs work while nobody, the operator included, changes these qubes (`Broker.housekeeping`). */
  readonly alone: <T>(names: readonly QubeName[], work: () => Promise<T>) => Promise<T>;
  /** Runs work while no creation is half-way (`Broker.betweenCreations`). Never within the other: calls take both in one step. */
  readonly betweenCreations: <T>(work: () => Promise<T>) => Promise<T>;
}

/** qubesd goes on with what the broker does not wait for any more, so an order may yet make something. */
export class StillToCome extends Error {
  override readonly name = 'StillToCome';
  /** Milliseconds since 1970. */
  readonly until: number;
  /** What it may have made so far. */
  readonly qubes: readonly NamedQube[];

  constructor(until: number, qubes: readonly NamedQube[]) {
    super(['what was ordered may still come', ...qubes.map(({ name }) => name)].join(', besides '));
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
  const others = notIt(intent);
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

type Examine = (intent: UnfinishedIntent, look: Look) => Promise<Found>;

/** Examines an order of which no qube is known. */
type Unseen = Examine;

const creation =
  (unseen: Unseen): Examine =>
  async (intent, look) => {
    const child = createdBy(intent.steps);
    const qubes = child ? [child] : [];
    if (has(intent, COMPLETE)) return { finding: await isThere(child, look.admin), qubes };
    if (child) return { finding: await settled(child, intent, look), qubes };
    return has(intent, CREATE) ? unseen(intent, look) : { finding: 'not-done', qubes };
  };

/** Rejects with StillToCome while something may come. */
const isNotOver = (intent: UnfinishedIntent, { looks, now }: Look, qubes: readonly NamedQube[]): void => {
  const ordered = Date.parse(intent.ts);
  // Clocks are set back, too.
  const isOver = looks >= LOOKS_MIN && !(Math.abs(now - ordered) < MAY_COME_MS);
  if (!isOver) throw new StillToCome((Number.isNaN(ordered) ? now : ordered) + MAY_COME_MS, qubes);
};

/** Finds the qube that has the name, and whether it is one that was just born of this order. */
type Born = (intent: UnfinishedIntent, row: Row, admin: Admin) => Promise<boolean>;

/** An order under a name: nothing else gets that while it is taken. */
const named =
  (isBorn: Born): Unseen =>
  (intent, look) => {
    const { admin, quarantine, first } = look;
    const { name } = intent.args;
    if (!isQubeName(name)) return Promise.resolve({ finding: 'unknown', qubes: [] });
    return look.alone([name], async () => {
      const row = await admin.row(name);
      if (!row || notIt(intent)?.includes(row.uuid) || quarantine.isWhole(row.uuid)) {
        isNotOver(intent, look, []);
        return { finding: 'not-done', qubes: [] };
      }
      const qubes = [childOf(row)];
      const isOurs = (): boolean => !quarantine.isWhole(row.uuid);
      if (!(await isBorn(intent, row, admin))) return { finding: 'unknown', qubes };
      // Some time later, or in another life, who has the name may be anybody.
      if (first && isUnderWay(intent)) return { finding: await takeAway(row.uuid, admin, isOurs), qubes };
      await keepAll(qubes, intent, look);
      // It has its template's tags from the first moment; any other has none of an agent's yet.
      if (row.klass === 'DispVM') await disarmed(row.uuid, admin, isOurs);
      return { finding: 'unknown', qubes };
    });
  };

/** An order of a disposable: any new one of the template that nobody has started may be it, and anybody's. */
const disposable: Unseen = async (intent, look) => {
  const { admin, quarantine } = look;
  const known = notIt(intent);
  const { qubes, isSure } = await look.betweenCreations(async () => {
    // Of too many it cannot be told which are new: the order holds them all.
    const found = known ? await newOnes(intent, new Set(known), look) : { qubes: [], isSure: false };
    await keepAll(found.qubes, intent, look);
    return found;
  });
  for (const { name, uuid } of qubes) {
    const isOurs = (): boolean => quarantine.has(uuid);
    // The next look tries again; one that cannot be disarmed does not hold all the others for ever.
    await look.alone([name], () => disarmed(uuid, admin, isOurs)).catch(unlessAway);
  }
  isNotOver(intent, look, qubes);
  return { finding: qubes.length > 0 || !isSure ? 'unknown' : 'not-done', qubes };
};

const unlessAway = (error: unknown): void => {
  if (error instanceof AdminError && error.isAway) throw error;
};

/** What was found at an earlier look stays found, whoever has started it since. `isSure`: all could be looked at. */
const newOnes = async (
  { qubes }: UnfinishedIntent,
  known: ReadonlySet<string>,
  { admin, quarantine }: Look,
): Promise<{ readonly qubes: readonly Child[]; readonly isSure: boolean }> => {
  const template = qubes.find(({ role }) => role === 'dvmt')?.name;
  const found: Child[] = [];
  let isSure = true;
  for (const row of isQubeName(template) ? await admin.list() : []) {
    const { uuid, klass, state } = row;
    if (klass !== 'DispVM' || known.has(uuid) || quarantine.isWhole(uuid)) continue;
    if (state !== 'Halted' && !quarantine.has(uuid)) continue;
    try {
      if (await isDisposableOf(row, template as QubeName, admin)) found.push(childOf(row));
    } catch (error) {
      if (!(error instanceof AdminError) || error.isAway) throw error;
      isSure = false;
    }
  }
  return { qubes: found, isSure };
};

/** Whether it was, when the last life ended. */
const isUnderWay = (intent: UnfinishedIntent): boolean => intent.current && !has(intent, LEFT) && !has(intent, UNSAVED);

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
    const deal = isUntouched ? takeAway : disarmed;
    return await look.alone([child.name].filter(isQubeName), () => deal(uuid, admin, isOurs));
  } catch (error) {
    // Until it is settled it is out of sight, too.
    if (error instanceof AdminError && !error.isAway) await keepAll([child], intent, look);
    throw error;
  }
};

const isSpawned: Born = (intent, row, admin) => {
  const template = intent.qubes.find(({ role }) => role === 'template')?.name ?? '';
  return isUnfinished(row, intent.args.klass === 'DispVM' ? 'DispVM' : 'AppVM', template, admin);
};

const isCloned: Born = async (intent, row, admin) => {
  const uuid = intent.qubes.find(({ role }) => role === 'source')?.uuid;
  const source = isUuid(uuid) ? await admin.rowOf(uuid) : null;
  const template = source ? (await admin.property({ uuid: source.uuid }, 'template')).text : '';
  return isUnfinished(row, source?.klass ?? '', template, admin);
};

/** The qubes that were there before, or became whole since; null where they were too many. */
const notIt = ({ steps }: UnfinishedIntent): readonly string[] | null =>
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
  for (const tag of arms) if (isOurs()) await admin.removeTag({ uuid }, tag).catch(failing);
  const netvm = await admin.property({ uuid }, 'netvm');
  // One that runs without being armed is the operator's by now, with a network of theirs.
  const isCut = netvm.text !== '' && (arms.length > 0 || netvm.isDefault || row.state === 'Halted');
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

export const CREATIONS: ReadonlyMap<string, Examine> = new Map([
  [spawn.name, creation(named(isSpawned))],
  [spawnDisposable.name, creation(disposable)],
  [clone.name, creation(named(isCloned))],
]);

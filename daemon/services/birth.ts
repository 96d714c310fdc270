// How a qube comes into being (contract 1.5 to 1.7, R4 to R7, R23): one call that creates, then phases, each durably
// named before it begins; when one fails, what was created goes again, and the reply says whether it verifiably did.
import { tagChanges } from '../authority/birth.ts';
import type { Tags } from '../authority/capabilities.ts';
import { readQube } from '../fleet/live.ts';
import { COMPLETE, LEFT } from '../journal/open-intents.ts';
import { JournalUnavailable } from '../journal/unavailable.ts';
import { isQubeName, type QubeName, type Uuid } from '../names.ts';
import { type Refusal, refuse } from '../qrexec/door.ts';
import { isManaged, type Label } from '../qube.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Egress } from './birth-egress.ts';
import type { Covers, Order } from './quarantine.ts';
import type { Work } from './service.ts';

/** The qube that the call creates. Everything is done to it by uuid, since its name may be another's by then. */
export interface Child {
  readonly role: 'created';
  readonly name: QubeName;
  readonly uuid: Uuid;
}

/** What a reply says of a failure: when everything is undone, and when that could not be verified. */
export interface Failure {
  readonly undone: Refusal;
  left(name: string): Refusal;
}

export interface Phase {
  readonly step: string;
  readonly failed: Failure;
  /** Rejects with `AdminError` when it failed, a read-back that shows something else included. */
  run(child: Child): Promise<void>;
}

export interface Birth<Answer> {
  /** What to call it where it has to be named and nobody knows more; null where qubesd chooses the name. */
  readonly name: string | null;
  /** What qubesd calls it in its answer to the order, where that says more. Not checked yet. */
  nameIn?(answer: Answer): string;
  /** The uuids of the qubes that it is not, as in the record of a step; null where there are too many to tell. */
  readonly known: readonly string[] | null;
  readonly failed: Failure;
  /** Whether a qube may be the one that the order makes. */
  readonly covers: Covers;
  /** The one Admin API call that creates. */
  order(): Promise<Answer>;
  /** The child, from the answer to the order. Rejects with `AdminError` where that names none of ours. */
  locate(answer: Answer): Promise<Child>;
  /** The answer as a late one carries it. */
  late(data: Buffer): Answer;
  /**
   * The child where no answer led to it; null where there is none. `failure` is the order's own, null when the order was
   * answered well. Rejects with `AdminError`.
   */
  search(failure: AdminError | null): Promise<Child | null>;
  readonly phases: readonly Phase[];
}

/** The step before the creating call. */
export const CREATE = 'create';

/** The qube that was ordered under this name, which is none of these. */
export const namedAs =
  (name: unknown, others: ReadonlySet<string> = new Set()): Covers =>
  (row) =>
    row.name === name && !others.has(row.uuid);
/** The disposable that was ordered when there were these; null where nobody knows which there were. */
export const anotherThan =
  (known: ReadonlySet<string> | null): Covers =>
  ({ klass, uuid }) =>
    klass === 'DispVM' && !known?.has(uuid);

const left =
  (label: string) =>
  (name: string): Refusal =>
    refuse(`${label} AND rollback failed; manual cleanup of qube '${name}' required in dom0`);

/** A failure that says that it was rolled back, and one that is as if nothing had begun. */
export const rolledBack = (label: string): Failure => ({ undone: refuse(`${label} (rolled back)`), left: left(label) });
export const asBefore = (label: string): Failure => ({ undone: refuse(label), left: left(label) });

/** Carries a birth out. The complete child, or the refusal that says what is left of it. */
export const bear = async <Answer>(birth: Birth<Answer>, admin: Admin, work: Work): Promise<Child | Refusal> => {
  let { failed } = birth;
  let reached: 'nothing' | 'order' | 'answer' = 'nothing';
  let { name } = birth;
  let child: Child | null = null;
  const order = work.order(birth.covers);
  try {
    await work.step(CREATE, null, birth.known);
    reached = 'order';
    const answer = await birth.order();
    reached = 'answer';
    name = birth.nameIn?.(answer) ?? name;
    child = await birth.locate(answer);
    order.found(child.uuid);
    work.changed(child.name);
    for (const phase of birth.phases) {
      failed = phase.failed;
      await work.step(phase.step, child);
      await phase.run(child);
    }
    await work.step(COMPLETE, child);
    order.whole(child);
    return child;
  } catch (error) {
    const cause = causeOf(error);
    work.cause(cause);
    if (reached === 'nothing') {
      order.over();
      return failed.undone;
    }
    const isUndone = child
      ? await undo(child, order, admin, work)
      : await undoUnknown(reached === 'order' ? error : null, name, birth, order, admin, work);
    if (!isUndone) {
      work.cause(`${cause}, rollback failed`);
      const known = child?.name ?? birth.name;
      return known === null ? failed.undone : failed.left(known);
    }
    // What nobody planned is told to the operator; the caller's reply is the same.
    if (cause === UNPLANNED) throw error;
    return failed.undone;
  }
};

const UNPLANNED = 'unplanned';

const causeOf = (error: unknown): string => {
  // Of what qubesd says only the type is passed on; the details of 'malformed' are words of ours.
  if (error instanceof AdminError) return error.type ?? ((error.kind === 'malformed' && error.detail) || error.kind);
  return error instanceof JournalUnavailable ? 'journal unavailable' : UNPLANNED;
};

// ---- undoing

/** A qubesd that restarts is waited for this long, since nothing is worse than not knowing what it made. */
const PATIENCE_TRIES = 30;
const PATIENCE_MS = 1_000;
/** An answer that is no answer is asked for again this often. */
const ANSWER_TRIES = 3;
/** A disposable that is killed removes itself, in its own time. */
const VANISH_LOOKS = 10;
const VANISH_MS = 200;

type Pause = Work['pause'];

/** Takes a qube away that was just created. True only when qubesd says that it is gone; else it is left, in quarantine. */
const undo = async (child: Child, order: Order, admin: Admin, work: Work): Promise<boolean> => {
  // Taking away is safe with or without a journal that takes it down.
  await work.step('rollback', child).catch(() => {});
  let isGone = false;
  try {
    isGone = await remove(child.uuid, admin, work.pause);
  } finally {
    if (isGone) order.over();
    else {
      await work.quarantine(child);
      await work.step(LEFT, child).catch(() => {});
      work.left(child, order);
    }
    work.changed(child.name);
  }
  return isGone;
};

/** Kills where it runs, removes, and looks. True only when qubesd says that the qube is gone (R4: Kill alone never was). */
export const remove = async (uuid: Uuid, admin: Admin, pause: Pause): Promise<boolean> => {
  const isHalted = (await insistently(() => admin.state({ uuid }), pause)) === 'Halted';
  if (!isHalted) await admin.lifecycle({ uuid }, 'Kill').catch(failing);
  await admin.lifecycle({ uuid }, 'Remove').catch(failing);
  for (let looks = isHalted ? 1 : VANISH_LOOKS; looks > 0; looks--) {
    if ((await insistently(() => admin.rowOf(uuid), pause)) === null) return true;
    if (looks > 1) await pause(VANISH_MS);
  }
  return false;
};

/** For a call whose failure shows in what is read next. */
export const failing = (error: unknown): null => {
  if (error instanceof AdminError) return null;
  throw error;
};

/** A reading that is tried again while it fails, since much hangs on it; undefined when it keeps failing. */
const insistently = async <T>(read: () => Promise<T>, pause: Pause): Promise<T | undefined> => {
  for (let tries = 1; ; tries++) {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      const { isAway } = error;
      if (tries >= (isAway ? PATIENCE_TRIES : ANSWER_TRIES)) return undefined;
      if (isAway) await pause(PATIENCE_MS);
    }
  }
};

/** The order failed, or its answer led nowhere: looks whether it made something all the same. */
const undoUnknown = async <Answer>(
  failure: unknown,
  name: string | null,
  birth: Birth<Answer>,
  order: Order,
  admin: Admin,
  work: Work,
): Promise<boolean> => {
  const known = failure instanceof AdminError ? failure : null;
  // Without a connection nothing was ordered.
  const found = known?.kind === 'unreachable' ? null : await insistently(() => birth.search(known), work.pause);
  // What qubesd refuses it has taken back, so what is new is rather somebody else's.
  if (found && known?.kind !== 'exception') return undo(found, order, admin, work);
  if (found === null && !known?.late) {
    order.over();
    return true;
  }
  if (isQubeName(name)) await work.quarantine({ name, uuid: null });
  await work.step(LEFT, null).catch(() => {});
  if (known?.late) undoLate(known.late, birth, order, admin, work);
  else work.left(null, order);
  return found === null;
};

/** An answer after its deadline proves that the qube is ours and stands there incomplete. Nobody waits for it any more. */
const undoLate = <Answer>(
  late: Promise<Buffer>,
  birth: Birth<Answer>,
  order: Order,
  admin: Admin,
  work: Work,
): void => {
  let name: string | undefined;
  const end = async (): Promise<void> => {
    // What qubesd refuses it has taken back.
    const data = await late.catch(refusedOr);
    const answer = data && birth.late(data);
    name = answer ? birth.nameIn?.(answer) : undefined;
    const child = answer && (await birth.locate(answer));
    if (child && !(await undo(child, order, admin, work))) return;
    order.over();
    await work.cameToNothing(child);
  };
  end().catch(async (error: unknown) => {
    // It is named, and could not be looked at.
    const isUnseen = error instanceof AdminError && error.kind !== 'malformed';
    if (isUnseen && isQubeName(name)) await work.quarantine({ name, uuid: null });
    work.left(null, order);
  });
};

const refusedOr = (error: unknown): null => {
  if (error instanceof AdminError && error.kind === 'exception') return null;
  throw error;
};

// ---- phases that every birth has

/** The tags, exact on the vocabulary that is the broker's: first what is missing, then what is not wanted, then a look. */
export const stamp = (wanted: Tags, admin: Admin, failed: Failure): Phase => ({
  step: 'stamp',
  failed,
  run: async ({ uuid }) => {
    const { add, remove } = tagChanges(await admin.tags({ uuid }), wanted);
    for (const tag of add) await admin.setTag({ uuid }, tag);
    for (const tag of remove) await admin.removeTag({ uuid }, tag);
    const open = tagChanges(await admin.tags({ uuid }), wanted);
    if (open.add.length + open.remove.length > 0) throw new AdminError('malformed', null, 'tags not as set');
  },
});

/** The network, set even where it is the same already, since a default follows the machine's; and not used before that. */
export const pin = ({ netvm }: Egress, admin: Admin, failed: Failure): Phase => ({
  step: 'pin',
  failed,
  run: async ({ uuid }) => {
    const wanted = netvm?.name ?? '';
    await admin.setProperty({ uuid }, 'netvm', wanted);
    const { isDefault, text } = await admin.property({ uuid }, 'netvm');
    if (isDefault || text !== wanted) throw new AdminError('malformed', null, 'netvm not as set');
    if (netvm && !(await isStill(netvm, admin))) throw new AdminError('malformed', null, 'netvm is another');
    await stillUnused(uuid, admin);
  },
});

/** qubesd takes a netvm by its name alone, which by now may be another qube's, or that of one that has left the umbrella. */
const isStill = async ({ name, uuid }: NonNullable<Egress['netvm']>, admin: Admin): Promise<boolean> => {
  const now = await readQube(admin, name);
  return now !== null && now.uuid === uuid && isManaged(now);
};

/** Who started the qube before it was pinned had it on another network (I8). */
export const stillUnused = async (uuid: Uuid, admin: Admin): Promise<void> => {
  if ((await admin.state({ uuid })) !== 'Halted') throw new AdminError('malformed', null, 'not halted');
};

export const childOf = ({ name, uuid }: Row): Child => ({ role: 'created', name, uuid });

// ---- births under a name of the caller's choosing

export interface Named {
  readonly name: string;
  readonly klass: 'AppVM' | 'DispVM';
  readonly template: QubeName;
  readonly label: Label;
}

/**
 * The creation of a qube whose name was free when the creations' lock was taken, and so is ours when it is there after. A late
 * answer comes without the lock: by then the name can be that of another qube, which is not ours to take away.
 */
export const namedBirth = (named: Named, failed: Failure, admin: Admin): Omit<Birth<'in time' | 'late'>, 'phases'> => {
  const { name, klass, template, label } = named;
  const find = async (): Promise<Row | null> => (isQubeName(name) ? admin.row(name) : null);
  return {
    name,
    known: [],
    failed,
    covers: namedAs(name),
    order: async () => {
      await admin.create(klass, template, name, label);
      return 'in time';
    },
    late: () => 'late',
    locate: async (answer) => {
      const row = await find();
      const isOurs = row && (answer === 'in time' || (await isUnfinished(row, klass, template, admin)));
      if (!isOurs) throw new AdminError('malformed', null, 'created and not there');
      return childOf(row);
    },
    search: async (failure) => {
      // qubesd takes back what it refuses half-way, and refuses what an operator has just created under the same name.
      if (failure?.kind === 'exception') return null;
      const row = await find();
      const isOurs = row && (failure === null || (await isUnfinished(row, klass, template, admin)));
      return isOurs ? childOf(row) : null;
    },
  };
};

/** Whether a qube is as a creation leaves it before the first phase: never started, of this template, no agent's yet. */
export const isUnfinished = async (row: Row, klass: string, template: string, admin: Admin): Promise<boolean> => {
  if (row.klass !== klass || row.state !== 'Halted') return false;
  const { uuid } = row;
  if ((await admin.property({ uuid }, 'template')).text !== template) return false;
  // A disposable has its template's tags from the first moment, which say nothing.
  return klass === 'DispVM' || !isManaged({ tags: await admin.tags({ uuid }) });
};

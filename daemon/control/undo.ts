// Taking back what a call did (product, "Undo"): only while the qube is still the same one and still as the call left it.
import { readQube } from '../fleet/live.ts';
import type { UndoEntry, Value } from '../journal/undo-entry.ts';
import { UndoUnavailable } from '../journal/undo-store.ts';
import { isManaged, type Qube } from '../qube.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { type Changed, changedBy, standingOf } from '../services/take-back.ts';
import type { Undoable, Undone } from './answers.ts';
import { effect } from './effect.ts';
import type { ControlParts } from './parts.ts';
import { declined, done, type Said } from './socket.ts';

const AWAY = 'qubesd cannot be asked just now, so nothing was done. See qmcpctl doctor.';

export const listUndo = (_: object, { undo, now }: ControlParts): Said => {
  const changes = undo
    .list()
    .toReversed()
    .map((entry) => ({ ...shownOf(entry), age_s: Math.max(0, Math.round((now() - entry.at) / 1000)) }));
  return done({ changes, complaint: undo.complaint } satisfies Undoable);
};

/** Undoes the change of the intent with this number in the journal, or says what that would do. */
export const undo = async (
  { seq, dry_run }: { readonly seq: number; readonly dry_run: boolean },
  parts: ControlParts,
): Promise<Said> => {
  const entry = parts.undo.get(seq);
  if (!entry) {
    return declined(
      `Nothing is kept to undo ${seq}: it changed nothing that can be put back, was undone already, or is too long ago. See qmcpctl undo list.`,
    );
  }
  const said = await (dry_run ? look(entry, parts) : takeBack(entry, parts));
  // Once its outcome is on disk: until then a start needs the entry to see what became of it.
  if (said.ok && !dry_run && (await parts.journal.recover()).ok) parts.undo.spend(seq);
  return said;
};

const look = (entry: UndoEntry, parts: ControlParts): Promise<Said> => {
  const { name } = entry.qube;
  return parts.broker.housekeeping([name], async () => {
    const qube = await unlessAway(() => readQube(parts.admin, name));
    if (typeof qube === 'string') return declined(qube);
    if (!qube) return declined(`There is no qube ${name} any more.`);
    const plan = await planFor(entry, qube, parts);
    return typeof plan === 'string' ? declined(plan) : done(undoneOf(entry, plan, false));
  });
};

const takeBack = (entry: UndoEntry, parts: ControlParts): Promise<Said> => {
  const { seq, change, qube: of } = entry;
  const { name } = of;
  let plan: Plan | string = AWAY;
  return effect(
    name,
    {
      action: 'undo',
      args: { name, seq, kind: change.kind, ...('name' in change && { key: change.name }) },
      obstacle: async (qube) => {
        plan = await planFor(entry, qube, parts);
        return typeof plan === 'string' ? plan : null;
      },
      perform: async (_, undoSeq) => {
        if (typeof plan === 'string') return declined(plan);
        const kept = await keepReverse(entry, undoSeq, parts);
        if (kept !== null) return declined(`Nothing was done. ${kept}`);
        const { changed, to } = plan;
        try {
          await changed.write(to);
          if (changed.isSame(await changed.read(), to)) return done(undoneOf(entry, plan, true));
        } catch (error) {
          await forgetReverse(undoSeq, plan, error, parts);
          throw error;
        }
        await forgetReverse(undoSeq, plan, null, parts);
        return declined(`qubesd took it, but does not show it. Look at ${name} in dom0.`);
      },
    },
    parts,
  );
};

/** What would be done: from one value to another. */
interface Plan {
  readonly changed: Changed;
  readonly from: Value;
  readonly to: Value;
}

/** Or why it cannot be, in a sentence. */
const planFor = async (
  { change, qube: of }: UndoEntry,
  qube: Qube,
  { admin }: ControlParts,
): Promise<Plan | string> => {
  const { name, uuid } = of;
  if (qube.uuid !== uuid)
    return `The ${name} that this was about is gone, and another has its name now. Nothing was done.`;
  if (change.kind !== 'tombstone' && !isManaged(qube)) {
    return `${name} is not managed any more, and the broker changes only what is. Nothing was done. ${byHand(change.kind, name)}`;
  }
  const changed = changedBy(change, uuid, admin);
  const { before } = changed;
  if (before === undefined) {
    return `What ${name} had before could not be read at that time. Nothing was done. ${byHand(change.kind, name)}`;
  }
  const now = await unlessAway(async () => ({ value: await changed.read() }));
  if (typeof now === 'string') return now;
  switch (standingOf(changed, now.value)) {
    case 'before':
      return `${name} is as it was before already. Nothing was done.`;
    case 'other':
      return `${name} was changed again since, so it is not as this change left it. Undo what came later first, if it can be: qmcpctl undo list. ${byHand(change.kind, name)}`;
    default:
      return { changed, from: now.value, to: before };
  }
};

const BY_HAND: Readonly<Record<UndoEntry['change']['kind'], string>> = {
  property: 'qvm-prefs NAME',
  feature: 'qvm-features NAME',
  firewall: 'qvm-firewall NAME',
  tombstone: 'qmcpctl tombstones restore NAME',
};
const byHand = (kind: UndoEntry['change']['kind'], name: string): string =>
  `Or do it yourself: ${BY_HAND[kind].replace('NAME', name)}`;

/** So that an undo can be undone. A removal is not begun again from here. Gives what stands in the way. */
const keepReverse = async ({ change, qube }: UndoEntry, seq: number, parts: ControlParts): Promise<string | null> => {
  const reverse =
    change.kind === 'tombstone'
      ? null
      : change.kind === 'firewall'
        ? { ...change, before: change.after, after: change.before }
        : { ...change, before: { value: change.after }, after: change.before?.value ?? null };
  if (reverse === null) return null;
  const of = { service: 'qmcpctl', source: 'dom0', principal: 'operator' };
  try {
    await parts.undo.keep({ seq, at: parts.now(), ...of, qube, change: reverse });
    return null;
  } catch (error) {
    if (error instanceof UndoUnavailable) return error.message;
    throw error;
  }
};

/** An undo that never came about is nothing to undo. One that may yet come about, or did in part, keeps what would take it back. */
const forgetReverse = async (seq: number, { changed, from }: Plan, error: unknown, { undo }: ControlParts) => {
  if (error instanceof AdminError && error.kind === 'deadline') return;
  const now = await changed.read().then(
    (value) => ({ value }),
    () => null,
  );
  if (now !== null && changed.isSame(now.value, from)) undo.spend(seq);
};

const shownOf = ({ seq, service, source, principal, qube, change }: UndoEntry) => ({
  seq,
  service,
  source,
  principal,
  qube: qube.name,
  kind: change.kind,
  name: 'name' in change ? change.name : null,
});

const undoneOf = (entry: UndoEntry, { from, to }: Plan, isDone: boolean): Undone => ({
  ...shownOf(entry),
  from,
  to,
  done: isDone,
});

/** A sentence where qubesd does not answer. */
const unlessAway = async <T>(work: () => Promise<T>): Promise<T | string> => {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    return error.type === null ? AWAY : `qubesd does not say how it is now (${error.type}), so nothing was done.`;
  }
};

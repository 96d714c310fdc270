// Removal that can be undone (contract section 4, R22): the qube loses the umbrella and gains a dated marker, in an
// order in which every prefix is safe, and is put back as it was when the whole cannot be reached.
import { isControlled, tagChanges } from '../authority/birth.ts';
import { tombstoneMarker, tombstoneTags } from '../authority/tombstone.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Work } from './service.ts';

/** Properties through which one qube depends on another that is not running. */
const REFERENCES = ['template', 'netvm', 'default_dispvm', 'guivm', 'audiovm', 'management_dispvm'];

/** Whether any other qube of the machine names this one. What cannot be read counts as a yes (R16). */
export const isInUse = async (target: Qube, admin: Admin): Promise<boolean> => {
  const others = (await admin.list()).filter(({ uuid, klass }) => uuid !== target.uuid && klass !== 'AdminVM');
  for (const { uuid } of others) {
    try {
      const properties = await admin.properties({ uuid });
      if (REFERENCES.some((name) => properties.get(name)?.text === target.name)) return true;
    } catch (error) {
      if (!(error instanceof AdminError) || error.kind === 'unreachable') throw error;
      if (error.type !== 'QubesVMNotFoundError') return true;
    }
  }
  return false;
};

/**
 * Whether it starts with the machine: a tombstone that did so would run outside the umbrella, where no rule for managed
 * qubes holds it, and would never be due. What cannot be read counts as a yes (R16). Rejects with `AdminError` when qubesd
 * is away.
 */
export const startsByItself = async ({ uuid }: Pick<Qube, 'uuid'>, admin: Admin): Promise<boolean> => {
  try {
    return (await admin.property({ uuid }, 'autostart')).text !== 'False';
  } catch (error) {
    if (!(error instanceof AdminError) || error.isAway) throw error;
    return error.type !== 'QubesNoSuchPropertyError';
  }
};

/**
 * Entombs a halted qube. True when its tags are exactly a tombstone's; false when that could not be reached, and then
 * its tags are as before unless the cause 'rollback failed' is journalled. Rejects with `AdminError` or
 * `UndoUnavailable` before any change.
 */
export const entomb = async (target: Qube, admin: Admin, work: Work): Promise<boolean> => {
  const dest = { uuid: target.uuid };
  const before = await admin.tags(dest);
  const seconds = work.now() / 1000;
  const wanted = tombstoneTags(before, seconds);
  const doomed = [...before].filter((tag) => isControlled(tag) && !wanted.has(tag)).sort();
  const marker = tombstoneMarker(seconds);
  await work.keep(target, { kind: 'tombstone', before: controlled(before), after: controlled(wanted) });
  let restored = before;
  try {
    await admin.setTag(dest, marker);
    // The marker must stand before the umbrella goes: a qube with neither would be nobody's.
    if (!(await admin.tags(dest)).has(marker)) throw new AdminError('malformed', null, 'marker not set');
    for (const tag of doomed) await admin.removeTag(dest, tag);
    const after = await admin.tags(dest);
    if (equal(new Set(controlled(after)), new Set(controlled(wanted)))) return true;
    work.cause('tags not as set');
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    work.cause(error.type ?? error.kind);
    // What was given up on may still happen, so the marker stays: the umbrella could be the tag that goes late.
    if (error.kind === 'deadline') restored = new Set([...before, marker]);
  }
  if (!(await putBack(dest, restored, admin)) || restored !== before) work.cause('rollback failed');
  return false;
};

/** Makes the tags these again, of the controlled ones exactly; true when a read-back says so. */
const putBack = async (dest: { uuid: Qube['uuid'] }, tags: ReadonlySet<string>, admin: Admin): Promise<boolean> => {
  try {
    const now = await admin.tags(dest);
    const { add, remove } = tagChanges(now, tags);
    for (const tag of add) await admin.setTag(dest, tag);
    for (const tag of remove) await admin.removeTag(dest, tag);
    return equal(await admin.tags(dest), tags);
  } catch (error) {
    if (error instanceof AdminError) return false;
    throw error;
  }
};

const controlled = (tags: ReadonlySet<string>): string[] => [...tags].filter(isControlled).sort();

const equal = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  a.size === b.size && [...a].every((tag) => b.has(tag));

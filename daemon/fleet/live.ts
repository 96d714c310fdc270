// Facts read from qubesd at the moment of asking: what changes are decided on.
import { isQubeName, type Uuid } from '../names.ts';
import { type Qube, seen } from '../qube.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';

/** No qube has it: the last of all uuids, where random ones are of version 4. */
const NOBODY = { uuid: 'ffffffff-ffff-ffff-ffff-ffffffffffff' as Uuid };

/**
 * The qube of this name as it is now, or null where there is none (or no qube can have that name).
 * Tags that qubesd refuses to give are null, which counts as unmanaged; so does one that `admin` holds. Rejects with `AdminError`
 * otherwise.
 */
export const readQube = async (admin: Admin, name: string): Promise<Qube | null> => {
  if (!isQubeName(name)) return null;
  const row = await admin.row(name);
  try {
    // I6: one that is missing takes as many calls as one that is not managed, however long qubesd takes for each (R17).
    const tags = await admin.tags(row ? { uuid: row.uuid } : NOBODY);
    return row && qubeOf(row, tags);
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    if (error.type === 'QubesVMNotFoundError') return null;
    if (error.isAway) throw error;
    return row && qubeOf(row, null);
  }
};

const qubeOf = ({ isHeld, ...row }: Row, tags: Qube['tags']): Qube => ({ ...row, ...seen(tags, isHeld) });

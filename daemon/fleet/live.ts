// Facts read from qubesd at the moment of asking: what changes are decided on.
import { isQubeName } from '../names.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';

/**
 * The qube of this name as it is now, or null where there is none (or no qube can have that name).
 * Tags that qubesd refuses to give are null, which counts as unmanaged. Rejects with `AdminError` otherwise.
 */
export const readQube = async (admin: Admin, name: string): Promise<Qube | null> => {
  if (!isQubeName(name)) return null;
  const row = await admin.row(name);
  if (!row) return null;
  try {
    return { ...row, tags: await admin.tags({ uuid: row.uuid }) };
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    if (error.type === 'QubesVMNotFoundError') return null;
    if (error.kind === 'unreachable' || error.kind === 'deadline') throw error;
    return { ...row, tags: null };
  }
};

// qmcp.GetPoolStats (contract 1.12): the bytes that agents' qubes hold, of how many. The body is not looked at.
import type { Reply } from '../qrexec/door.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { CAP_UNKNOWN, USE_UNKNOWN, usedBytes } from './budget.ts';
import type { Reading, ReadService } from './service.ts';

export const poolStats: ReadService = {
  kind: 'read',
  name: 'qmcp.GetPoolStats',
  malformed: null,
  answer(_json, reading) {
    const { poolCap } = reading.settings;
    return poolCap === null ? CAP_UNKNOWN : stats(poolCap, reading);
  },
};

/** Which qubes count is known from the view; volumes grow without an event, so their sizes are read. */
const stats = async (cap: number, { whole, admin }: Reading): Promise<Reply> => {
  try {
    const used = await usedBytes(admin, [...(await whole.snapshot()).values()]);
    return {
      ok: true,
      ai_managed_bytes_used: used,
      ai_managed_bytes_cap: cap,
      ai_managed_bytes_headroom: Math.max(0, cap - used),
    };
  } catch (error) {
    if (error instanceof AdminError) return USE_UNKNOWN;
    throw error;
  }
};

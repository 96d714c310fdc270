// The qubes of the machine as qmcpctl sees them: read from qubesd itself, so that a daemon that is down hides nothing.
import { inParallel } from '../fleet/in-parallel.ts';
import { isManaged } from '../qube.ts';
import { type Admin, adminOver, type PropertyValue, type Row } from '../qubesadmin/admin.ts';
import { adminCallsTo, DEADLINES } from '../qubesadmin/client.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { Refusal } from './command.ts';

/** Of qubesd, for one answer: a person waits. */
const DEADLINE_MS = 1_500;

export interface FleetQube extends Row {
  /** null where they could not be read. */
  readonly tags: ReadonlySet<string> | null;
  /** Of managed qubes where they are wanted; null where not, or where they could not be read. */
  readonly properties: ReadonlyMap<string, PropertyValue> | null;
}

export const adminAt = (socket: string): Admin => adminOver(adminCallsTo(socket, { ...DEADLINES, usual: DEADLINE_MS }));

/** Every qube, dom0 included, by name. Rejects with Refusal where qubesd cannot be asked. */
export async function readFleet(socket: string, want: { readonly properties: boolean }): Promise<FleetQube[]> {
  const admin = adminAt(socket);
  try {
    const rows = await admin.list();
    const qubes = await inParallel(rows, async (row) => {
      const dest = { uuid: row.uuid };
      const tags = await unlessRefused(admin.tags(dest));
      const wanted = want.properties && isManaged({ tags });
      return { ...row, tags, properties: wanted ? await unlessRefused(admin.properties(dest)) : null };
    });
    return qubes.sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    if (error instanceof AdminError) throw awayFrom(socket, error);
    throw error;
  }
}

const unlessRefused = async <T>(reading: Promise<T>): Promise<T | null> => {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof AdminError) || error.isAway) throw error;
    return null;
  }
};

/** qubesd cannot be asked. */
export class QubesdAway extends Refusal {
  /** The command that mends it. */
  readonly mend: string;

  constructor(message: string, mend: string) {
    super(message);
    this.mend = mend;
  }
}

export const awayFrom = (socket: string, { kind, detail }: AdminError): QubesdAway => {
  if (kind === 'unreachable' && /EACCES|EPERM/.test(detail)) {
    const message = `qubesd's socket ${socket} is not open to this user. Use sudo, or a user of the group qubes.`;
    return new QubesdAway(message, 'sudo qmcpctl doctor');
  }
  const how =
    kind === 'deadline' ? 'does not answer in time' : kind === 'unreachable' ? 'is not there' : `fails (${kind})`;
  return new QubesdAway(
    `qubesd ${how} on ${socket}. Look at: systemctl status qubesd`,
    'sudo systemctl restart qubesd',
  );
};

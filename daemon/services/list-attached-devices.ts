// qmcp.ListAttachedDevicesAIManaged (contract 1.11, R3): the devices a managed qube uses, or those it offers.
import * as z from 'zod/mini';
import { redactedDevice } from '../fleet/device-redaction.ts';
import type { Snapshot } from '../fleet/view.ts';
import { isQubeName } from '../names.ts';
import { NOT_FOUND, type Reply, refuse } from '../qrexec/door.ts';
import { isManaged } from '../qube.ts';
import type { Admin, DeviceClass } from '../qubesadmin/admin.ts';
import { parseDeviceLine } from '../qubesadmin/device-lines.ts';
import { AdminError, type Destination } from '../qubesadmin/wire.ts';
import { DEVICE_CLASSES, UNKNOWN_CLASS } from './device-port.ts';
import type { Reading, ReadService } from './service.ts';

const UNKNOWN_MODE = refuse("mode must be 'attached' or 'available'");
/** More devices of one class than any machine has. */
export const MAX_LINES = 1_024;

const hasClass = z.object({ device_class: z.enum(DEVICE_CLASSES) });
const hasMode = z.object({ mode: z._default(z.enum(['attached', 'available']), 'attached') });
const hasName = z.object({ name: z.string().check(z.minLength(1)) });
type Mode = z.infer<typeof hasMode>['mode'];

export const listAttachedDevices: ReadService = {
  kind: 'read',
  name: 'qmcp.ListAttachedDevicesAIManaged',
  malformed: NOT_FOUND,
  answer(json, reading) {
    const devclass = hasClass.safeParse(json);
    if (!devclass.success) return UNKNOWN_CLASS;
    const mode = hasMode.safeParse(json);
    if (!mode.success) return UNKNOWN_MODE;
    const target = hasName.safeParse(json);
    return target.success ? list(target.data.name, devclass.data.device_class, mode.data.mode, reading) : NOT_FOUND;
  },
};

const list = async (name: string, devclass: DeviceClass, mode: Mode, reading: Reading): Promise<Reply> => {
  try {
    const snapshot = await reading.fleet.snapshot();
    const qube = isQubeName(name) ? snapshot.get(name) : undefined;
    if (!qube || !isManaged(qube)) return NOT_FOUND;
    const listed = (await read(reading.admin, { uuid: qube.uuid }, devclass, mode)).filter(
      (line) => line.trim() !== '',
    );
    const lines = shownLines(listed.slice(0, MAX_LINES), mode, snapshot);
    if (lines.length < listed.length) reading.notice(leftOut(listed.length - lines.length, devclass, qube.name));
    return { ok: true, lines };
  } catch (error) {
    if (error instanceof AdminError) return NOT_FOUND;
    throw error;
  }
};

const read = async (admin: Admin, dest: Destination, devclass: DeviceClass, mode: Mode): Promise<string[]> => {
  if (mode === 'available') return admin.devices(dest, devclass, 'Available');
  try {
    return await admin.devices(dest, devclass, 'Attached');
  } catch (error) {
    if (!(error instanceof AdminError) || (error.kind !== 'exception' && error.kind !== 'empty')) throw error;
    return admin.devices(dest, devclass, 'List');
  }
};

/** Each line that is in a layout of the platform, with its names redacted and its spaces single. */
const shownLines = (lines: readonly string[], mode: Mode, snapshot: Snapshot): string[] =>
  lines.flatMap((line) => {
    const parsed = parseDeviceLine(line, mode);
    return parsed ? [redactedDevice(parsed, snapshot).replace(/[ \t]+/g, ' ')] : [];
  });

const leftOut = (count: number, devclass: DeviceClass, name: string): string =>
  `qubesd listed ${count} ${devclass} devices of ${name} in a way that is not understood. They were left out of the reply; compare with qvm-device ${devclass} list ${name}.`;

// Which devices a caller can name: the class, and the port within its backend (qubes.devices: a backend and a port id).
import { refuse } from '../qrexec/door.ts';
import type { DeviceClass } from '../qubesadmin/admin.ts';

export const DEVICE_CLASSES = ['block', 'mic', 'usb'] as const satisfies readonly DeviceClass[];
export const UNKNOWN_CLASS = refuse(
  `device_class must be one of: [${DEVICE_CLASSES.map((each) => `'${each}'`).join(', ')}]`,
);

/** The platform allows these characters in the id of any port; the length is ours. */
const PORT_ID = /^[a-zA-Z0-9._-]{1,64}$/;

/**
 * The ids that the platform's own extension gives to ports of a class (qubes.ext.block and mic, qubesusbproxy). No device is
 * at any other, and nothing else of a caller's choosing is shown as one.
 */
const PORT_OF: Readonly<Record<DeviceClass, RegExp>> = {
  block: /^[a-z0-9-]{1,12}$/,
  mic: /^mic$/,
  usb: /^[0-9]{1,3}-[0-9]{1,3}(?:\.[0-9]{1,3}){0,7}$/,
};

export const isPortId = (id: string): boolean => PORT_ID.test(id);
export const isPortOf = (devclass: DeviceClass, id: string): boolean => PORT_OF[devclass].test(id);

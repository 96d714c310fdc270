// What a device is, for the question. The backend is a managed qube, so whatever a device is called there an agent may have
// chosen: nothing of that is shown (I5). What remains is a closed vocabulary: kinds of interface, and for USB the numbers of
// vendor and product with the names that dom0's own database has for them.
import type { DeviceClass } from '../qubesadmin/admin.ts';
import type { FieldsLine } from '../qubesadmin/device-lines.ts';

/** Interfaces by the beginning of their code, the more special first (qubes.device_protocol, DeviceCategory). */
const KINDS: readonly (readonly [code: RegExp, kind: string])[] = [
  [/^u03..01/, 'keyboard'],
  [/^u03..02/, 'mouse'],
  [/^u03/, 'input device'],
  [/^ue00101/, 'Bluetooth'],
  [/^ue0/, 'wireless'],
  [/^u02/, 'modem or network'],
  [/^u(?:01|06|0e|10)/, 'audio, camera or video'],
  [/^u07/, 'printer'],
  [/^u08/, 'storage'],
  [/^b/, 'storage'],
  [/^m/, 'microphone'],
];
const CODE_LENGTH = 7;
/** A USB device may have many interfaces; more than this many kinds are counted and not listed. */
const MAX_KINDS = 6;

const USB_IDS = /^([0-9a-f]{4}):([0-9a-f]{4})(?::|$)/;
/** Names of the database: words, and signs that cannot end a line or pretend to be another. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9.,&+/()-]*(?: [A-Za-z0-9.,&+/()-]+)*$/;
const MAX_NAME = 60;

/** `storage; SanDisk Corp. Cruzer Blade (0781:5567)`, or as much of it as is known. */
export const describeDevice = ({ identity, fields }: FieldsLine, devclass: DeviceClass): string => {
  const values = new Map(fields);
  const kinds = kindsOf(values.get('interfaces') ?? '');
  const [, vendor, product] = (devclass === 'usb' && USB_IDS.exec(values.get('device_id') ?? identity ?? '')) || [];
  if (vendor === undefined) return kinds;
  const names = [values.get('vendor'), values.get('product')].filter(isName);
  return `${kinds}; ${[...names, ''].join(' ')}(${vendor}:${product})`;
};

const kindsOf = (codes: string): string => {
  const kinds = new Set<string>();
  for (let at = 0; at < codes.length; at += CODE_LENGTH) {
    const code = codes.slice(at, at + CODE_LENGTH);
    kinds.add(KINDS.find(([pattern]) => pattern.test(code))?.[1] ?? 'of no known kind');
  }
  if (kinds.size === 0) return 'of no known kind';
  const listed = [...kinds].slice(0, MAX_KINDS);
  return kinds.size > MAX_KINDS ? `${listed.join(', ')} and more` : listed.join(', ');
};

const isName = (text: string | undefined): text is string =>
  text !== undefined && text.length <= MAX_NAME && NAME.test(text) && text !== 'unknown';

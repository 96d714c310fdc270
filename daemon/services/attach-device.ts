// qmcp.AttachDeviceAIManaged (contract 1.9): a device of one managed qube is given to another.
import { refuse } from '../qrexec/door.ts';
import type { DeviceClass } from '../qubesadmin/admin.ts';
import { type Crossing, crossingService, type DeviceOption } from './device-crossing.ts';

const BAD_OPTIONS = refuse('options must be an object');
export const MAX_OPTIONS = 16;
/** What qvm-device takes as `-o KEY=VALUE` and the platform as an option: no quote, no space, no `=` in the key. */
const KEY = /^[A-Za-z][A-Za-z0-9_-]{0,31}$/;
const VALUE = /^[A-Za-z0-9_.:/-]{1,64}$/;

/** What contract 1.9 counts as absent: the values that are false in Python. */
const isAbsent = (options: unknown): boolean => !options || (Array.isArray(options) && options.length === 0);

const options: Crossing['options'] = (json) => {
  const given = (json as { options?: unknown }).options;
  if (isAbsent(given)) return [];
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return BAD_OPTIONS;
  const texts = Object.entries(given).map(([key, value]) => [key, textOf(value)] as const);
  const sound = texts.length <= MAX_OPTIONS && texts.every(([key, text]) => KEY.test(key) && VALUE.test(text ?? ''));
  return sound ? (texts as DeviceOption[]) : BAD_OPTIONS;
};

/** Python's str() of a value; null for what is no option. */
const textOf = (value: unknown): string | null => {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return Number.isSafeInteger(value) ? String(value) : null;
};

/** The options that the platform knows (man qvm-device), with what each may be. The other classes have none. */
const BLOCK_OPTIONS: ReadonlyMap<string, readonly [value: RegExp, words: string]> = new Map([
  ['read-only', [/^(?:yes|no|True|False|1|0)$/, 'read-only']],
  ['ro', [/^(?:yes|no|True|False|1|0)$/, 'read-only']],
  ['frontend-dev', [/^xvd[a-z]{1,2}$/, 'appears as']],
  ['devtype', [/^(?:disk|cdrom)$/, 'kind of disk']],
]);

const optionWords = ([key, value]: DeviceOption, devclass: DeviceClass): string | null => {
  const [pattern, words] = (devclass === 'block' && BLOCK_OPTIONS.get(key)) || [];
  return pattern?.test(value) ? `${words} ${value}` : null;
};

export const attachDevice = crossingService({
  verb: 'attach',
  service: 'qmcp.AttachDeviceAIManaged',
  headline: ['Attach', 'to'],
  meaning: {
    block:
      'It can read the disk, and change it unless it is attached read-only. What is on the disk can attack it. To undo: detach it.',
    mic: 'It hears everything in the room until the microphone is detached.',
    usb: 'It has the device to itself, and the device can attack it, until it is detached. A keyboard can type there.',
  },
  options,
  optionWords,
});

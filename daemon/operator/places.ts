// Where things are: the same directories and sockets as the daemon's, and the same flags to say otherwise.
import { OPTIONS } from '../flags.ts';
import type { Option, Options } from './command.ts';

const place = (name: keyof typeof OPTIONS, value: string, what: string) =>
  ({
    type: 'string',
    default: OPTIONS[name].default,
    value,
    text: `${what} (default ${OPTIONS[name].default})`,
    words: value === 'DIR' ? 'directory' : 'file',
  }) as const satisfies Option;

export const PLACES = {
  etc: place('etc', 'DIR', 'the operator files are in DIR'),
  run: place('run', 'DIR', 'the sockets are in DIR'),
  state: place('state', 'DIR', 'keys and state are in DIR'),
  log: place('log', 'DIR', 'the journal is in DIR'),
  qubesd: place('qubesd', 'SOCKET', 'qubesd answers on SOCKET'),
  policy: place('policy', 'DIR', 'the qrexec policy is in DIR'),
  'tool-path': place('tool-path', 'DIRS', 'programs of the platform are in DIRS'),
} as const satisfies Options;

export const JSON_OPTION = {
  json: { type: 'boolean', default: false, text: 'print JSON for another program' },
} as const satisfies Options;

export const YES_OPTION = {
  yes: { type: 'boolean', short: 'y', default: false, text: 'do not ask back' },
} as const satisfies Options;

// Device lines as a caller may see them (R3): the names of qubes outside the umbrella replaced, all else as it is.
//
// In lines of fields, names are known by where they stand. Text that a device or its backend chose is left alone: whoever
// has the device at hand reads it there, and a word that vanished only where a qube has that name would tell which exist.
import { type FieldsLine, formatDeviceLine, type WordsLine } from '../qubesadmin/device-lines.ts';
import { redacted, redactedWord } from './redaction.ts';
import type { Snapshot } from './view.ts';

/** The keys that hold the name of a qube, in either layout. */
const NAMED: ReadonlySet<string> = new Set(['attachment', 'backend', 'backend_domain', 'frontend', 'frontend_domain']);
/** The keys of a device or its assignment that never hold a qube's name (qubes.device_protocol, serialize). */
const NAMELESS: ReadonlySet<string> = new Set([
  'attach_automatically',
  'device_id',
  'devclass',
  'ident',
  'interfaces',
  'manufacturer',
  'mode',
  'name',
  'parent_devclass',
  'parent_ident',
  'parent_port_id',
  'port_id',
  'product',
  'required',
  'self_identity',
  'serial',
  'vendor',
]);
/** What the platform itself writes into a description of a device about where it is. */
const PLACED = /^(hosted by |sub-device of )([^ :]+)(.*)$/;
const NAME_LIKE = /^[a-zA-Z][a-zA-Z0-9_.-]*$/;

export const redactedDevice = (line: FieldsLine | WordsLine, snapshot: Snapshot): string =>
  line.layout === 'fields' ? redactedFields(line, snapshot) : redactedWords(line, snapshot);

const redactedFields = (line: FieldsLine, snapshot: Snapshot): string =>
  formatDeviceLine({
    ...line,
    backend: line.backend === null ? null : redacted(snapshot, line.backend),
    fields: line.fields.map(([key, value]) => [key, redactedValue(key, value, snapshot)]),
  });

/** An option (`_read-only`) is no name either. Under a key that is not known, what could be a name is one. */
const redactedValue = (key: string, value: string, snapshot: Snapshot): string => {
  if (NAMED.has(key)) return value === '' ? '' : redacted(snapshot, value);
  const [, place, name, rest] = PLACED.exec(value) ?? [];
  if (place !== undefined && name !== undefined) return `${place}${redacted(snapshot, name)}${rest}`;
  const isName = !NAMELESS.has(key) && !key.startsWith('_') && NAME_LIKE.test(value);
  return isName ? redacted(snapshot, value) : value;
};

/** `BACKEND:PORT` and `BACKEND+PORT` are known by their shape; of other words only those that are some qube's name. */
const redactedWords = ({ words }: WordsLine, snapshot: Snapshot): string =>
  words.map((word, index) => redactedToken(word, index === 0, snapshot)).join(' ');

const redactedToken = (word: string, isHead: boolean, snapshot: Snapshot): string => {
  const [, name, separator, rest] = /^([a-zA-Z][a-zA-Z0-9_.-]*)([:+])(.*)$/.exec(word) ?? [];
  if (name !== undefined && (separator === ':' || isHead)) {
    return `${redacted(snapshot, name)}${separator}${namesIn(rest ?? '', snapshot)}`;
  }
  const [, key, value] = /^([A-Za-z0-9_-]+)=(.+)$/.exec(word) ?? [];
  if (key !== undefined && value !== undefined && NAMED.has(key)) return `${key}=${redacted(snapshot, value)}`;
  return namesIn(word, snapshot);
};

/** A name may end in a dot, and so may a sentence: both readings are tried. */
const namesIn = (text: string, snapshot: Snapshot): string =>
  text.replace(/[a-zA-Z][a-zA-Z0-9_.-]*/g, (word) => {
    const end = /[_.-]*$/.exec(word)?.index ?? word.length;
    const whole = redactedWord(snapshot, word);
    return whole === word ? `${redactedWord(snapshot, word.slice(0, end))}${word.slice(end)}` : whole;
  });

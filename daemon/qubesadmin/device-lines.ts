// The lines of a device listing. Two layouts exist:
//
//   fields  `BACKEND+PORT:IDENTITY key='value' key='value' ...` (attached), without `BACKEND+` (available): Qubes 4.3 on
//           (qubes.device_protocol, serialize). A quote inside a value has a backslash before it; nothing else is escaped.
//   words   `BACKEND:PORT words ...`: what came before it. Words have no structure to rely on.
//
// A line is read as one or the other or not at all: what has `='` in it never counts as words, so that nobody who names
// a device can turn a line whose names are known by their keys into one where they are not. Pure.
import { isQubeName, type QubeName } from '../names.ts';

export interface FieldsLine {
  readonly layout: 'fields';
  /** null where the listing is of one backend's own devices, whose head does not repeat it. */
  readonly backend: QubeName | null;
  readonly port: string;
  /** What the device calls itself, or null where the line does not say. */
  readonly identity: string | null;
  readonly fields: readonly (readonly [key: string, value: string])[];
}

export interface WordsLine {
  readonly layout: 'words';
  readonly words: readonly string[];
}

/** The longest line that is read. */
export const MAX_DEVICE_LINE = 4_096;

const PRINTABLE = /^[\x20-\x7e\t]*$/;
const ATTACHED = /^([^ +:]+)[+:]([A-Za-z0-9._-]+)(?::([^ ]*))?$/;
const AVAILABLE = /^([A-Za-z0-9._-]+)(?::([^ ]*))?$/;
const FIELD = / +([A-Za-z0-9_-]+)='((?:[^'\\]|\\'|\\(?!'))*)'(?= |$)/y;

/** The line of an attached or an available listing; null for one that is in no layout. */
export const parseDeviceLine = (line: string, listing: 'attached' | 'available'): FieldsLine | WordsLine | null => {
  if (line.length > MAX_DEVICE_LINE || !PRINTABLE.test(line)) return null;
  if (!line.includes("='")) return { layout: 'words', words: line.split(/[ \t]+/).filter(Boolean) };
  const text = line.trim();
  const head = /^[^ ]*/.exec(text)?.[0] ?? '';
  const fields = parseFields(text.slice(head.length));
  if (!fields) return null;
  if (listing === 'available') {
    const [, port, identity] = AVAILABLE.exec(head) ?? [];
    return port === undefined ? null : { layout: 'fields', backend: null, port, identity: identity ?? null, fields };
  }
  const [, backend, port, identity] = ATTACHED.exec(head) ?? [];
  if (port === undefined || !isQubeName(backend)) return null;
  return { layout: 'fields', backend, port, identity: identity ?? null, fields };
};

/** The line again, as the platform would write it. */
export const formatDeviceLine = ({ backend, port, identity, fields }: Printable): string =>
  [
    `${backend === null ? '' : `${backend}+`}${port}${identity === null ? '' : `:${identity}`}`,
    ...fields.map(([key, value]) => `${key}='${value.replaceAll("'", "\\'")}'`),
  ].join(' ');

/** A line whose backend may have been replaced by something that is no name. */
type Printable = Omit<FieldsLine, 'layout' | 'backend'> & { readonly backend: string | null };

const parseFields = (text: string): [string, string][] | null => {
  const fields: [string, string][] = [];
  let at = 0;
  while (at < text.length) {
    FIELD.lastIndex = at;
    const match = FIELD.exec(text);
    if (!match) return null;
    fields.push([match[1] ?? '', (match[2] ?? '').replaceAll("\\'", "'")]);
    at += match[0].length;
  }
  return fields;
};

// The header qrexec writes before a caller's bytes, and the JSON body that follows. Pure.
import { isQubeName, type QubeName } from '../names.ts';
import { isTooDeep, MAX_DEPTH } from '../nesting.ts';

export { MAX_DEPTH };

/** `SERVICE+ARG SOURCE keyword adminvm` and its other spellings of dom0 (facts: qrexec socket services). */
export interface Header {
  readonly service: string;
  readonly argument: string;
  /** The caller's identity: qrexec-daemon writes it, the caller cannot. */
  readonly source: QubeName;
}

/** qrexec replaces every other character of an argument before it calls (`a/b c` arrives as `a_b_c`). */
const SERVICE = /^(qmcp\.[A-Za-z0-9_.-]{1,58})\+([A-Za-z0-9_.+-]{0,128})$/;
/** Every way to say dom0: as the admin qube, by name, by its uuid, or as the default that policy routed here. */
const DOM0: ReadonlySet<string> = new Set([
  'keyword adminvm',
  'keyword default',
  'name dom0',
  'name uuid:00000000-0000-0000-0000-000000000000',
]);

export const MAX_HEADER_BYTES = 512;

/** The header in these bytes (without their NUL), or null for anything qrexec would not have written. */
export const parseHeader = (bytes: Buffer): Header | null => {
  if (bytes.length > MAX_HEADER_BYTES) return null;
  const [call, source, ...target] = bytes.toString('latin1').split(' ');
  const named = SERVICE.exec(call ?? '');
  if (!named?.[1] || !isQubeName(source) || !DOM0.has(target.join(' '))) return null;
  return { service: named[1], argument: named[2] ?? '', source };
};

/** The body's JSON. `null` stands for none that can be used: not UTF-8, not JSON, too long or too late. */
export type Body = { readonly json: unknown } | null;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Empty means `{}` (contract 1.0.2); for duplicate keys the last wins. Never throws. */
export const parseBody = (bytes: Buffer): Body => {
  if (bytes.length === 0) return { json: {} };
  if (isTooDeep(bytes)) return null;
  try {
    return { json: JSON.parse(utf8.decode(bytes)) };
  } catch {
    return null;
  }
};

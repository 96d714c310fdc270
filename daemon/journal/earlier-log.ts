// Verifies the log of the implementation that an installation may have used before (contract section 6): version 1, no
// actor, no signatures. A cut tail does not show in it. Pure.
import { type Fault, GENESIS, type Head, sha256 } from './chain.ts';
import { dumpPython, type PythonValue, parsePython } from './python-json.ts';

export type EarlierVerdict =
  | { readonly ok: true; readonly head: Head }
  | { readonly ok: false; readonly fault: Fault; readonly seq: number | null };

export const EARLIER_GENESIS = GENESIS;

/** Whether a line is of that log: version 1, and none of our record types. */
export function isEarlier(line: string): boolean {
  const value = parsePython(line);
  return value?.kind === 'object' && number(value.members.get('v')) === 1 && !value.members.has('type');
}

/** Checks one line (without its newline) against the head before it, in the order parse, hash, prev, seq. */
export function verifyEarlierLine(line: string, prev: Head): EarlierVerdict {
  const value = parsePython(line);
  if (value?.kind !== 'object') return { ok: false, fault: 'unparseable', seq: null };
  const seq = number(value.members.get('seq'));
  const hash = string(value.members.get('hash'));
  if (hash !== sha256(dumpPython(value, 'hash'))) return { ok: false, fault: 'hash', seq };
  if (string(value.members.get('prev')) !== prev.hash) return { ok: false, fault: 'prev', seq };
  if (seq !== prev.seq + 1) return { ok: false, fault: 'seq', seq };
  return { ok: true, head: { seq, hash } };
}

const string = (value: PythonValue | undefined): string | null => (value?.kind === 'string' ? value.value : null);

function number(value: PythonValue | undefined): number | null {
  const parsed = value?.kind === 'number' ? Number(value.text) : Number.NaN;
  return Number.isSafeInteger(parsed) ? parsed : null;
}

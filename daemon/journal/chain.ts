// The hash chain: each line carries the SHA-256 of its own canonical form and of the line before it. Pure.
// It shows that something was changed, moved, left out or put in; who could rewrite every line after a change is
// held by the signed checkpoints (checkpoint.ts), not by the chain.
import { createHash } from 'node:crypto';
import { canonicalMembers, isCanonical, joinMembers, type Member, member, sortMembers } from './canonical.ts';
import type { JournalRecord } from './record.ts';

/** The version of the line format. The log of the implementation before this one is 1 (contract section 6). */
export const LINE_VERSION = 2;

/** Where a chain stands: the number and the hash of its newest record. */
export interface Head {
  readonly seq: number;
  /** SHA-256, lower-case hex. */
  readonly hash: string;
}

/** Before the first record, as contract section 6 has it: no record, SHA-256 of nothing. */
export const GENESIS: Head = { seq: 0, hash: createHash('sha256').update('').digest('hex') };

/** The moment and machine start a record belongs to. */
export interface Stamp {
  /** Wall clock, milliseconds since 1970. */
  readonly wallMs: number;
  /** Monotonic clock, milliseconds. */
  readonly monoMs: number;
  readonly boot: string;
}

/** A record with its stamp, canonical already, which only lacks its place in the chain. */
export type Draft = readonly Member[];

/** What each line has beside its record. */
export interface Envelope {
  readonly v: number;
  readonly seq: number;
  /** UTC, ISO 8601 with milliseconds. */
  readonly ts: string;
  readonly mono_ms: number;
  readonly boot: string;
  readonly prev: string;
  readonly hash: string;
  readonly type: string;
}

/** A line as read back: the envelope is checked, the rest is whatever the record's type says. */
export type ChainedRecord = Envelope & Readonly<Record<string, unknown>>;

/** What can be wrong with one line, in the order in which it is looked for. */
export type Fault = 'unparseable' | 'hash' | 'prev' | 'seq';

export type LineVerdict =
  | { readonly ok: true; readonly head: Head; readonly record: ChainedRecord }
  | { readonly ok: false; readonly fault: Fault; readonly seq: number | null };

// What `link` adds; a record that brings one of them along is a mistake of ours.
const RESERVED = ['seq', 'prev', 'hash'];

/** Takes a snapshot of a record, so that later changes to the object cannot reach the journal. Throws TypeError (canonical). */
export function draft(record: JournalRecord, stamp: Stamp): Draft {
  for (const key of RESERVED) if (Object.hasOwn(record, key)) throw new TypeError(`a record has a member ${key}`);
  return canonicalMembers({
    ...record,
    v: LINE_VERSION,
    ts: new Date(stamp.wallMs).toISOString(),
    mono_ms: Math.round(stamp.monoMs),
    boot: stamp.boot,
  });
}

/** The line (with its newline) that follows `prev`, and the head after it. */
export function link(draft: Draft, prev: Head): { line: string; head: Head } {
  const seq = prev.seq + 1;
  const members = sortMembers([...draft, member('prev', prev.hash), member('seq', seq)]);
  const hash = sha256(joinMembers(members));
  return { line: `${joinMembers(sortMembers([...members, member('hash', hash)]))}\n`, head: { seq, hash } };
}

/**
 * Checks one line (without its newline) against the head before it. With `prev` null only the line itself is
 * checked, which is how a chain is entered in the middle.
 */
export function verifyLine(line: string, prev: Head | null): LineVerdict {
  const record = parseLine(line);
  if (record === null) return { ok: false, fault: 'unparseable', seq: null };
  const fault = (fault: Fault): LineVerdict => ({ ok: false, fault, seq: record.seq });
  if (sha256(withoutHash(line, record.hash)) !== record.hash) return fault('hash');
  if (prev !== null && record.prev !== prev.hash) return fault('prev');
  if (prev !== null && record.seq !== prev.seq + 1) return fault('seq');
  return { ok: true, head: { seq: record.seq, hash: record.hash }, record };
}

export const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

const HEX_64 = /^[0-9a-f]{64}$/;

/** The record of a line that is canonical and has a whole envelope, else null. */
export function parseLine(line: string): ChainedRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
    // Two spellings of one value, duplicate keys, spaces: all end here.
    if (!isCanonical(line, value)) return null;
  } catch {
    return null;
  }
  return isChained(value) ? value : null;
}

function isChained(value: unknown): value is ChainedRecord {
  const { v, seq, ts, mono_ms, boot, prev, hash, type } = (value ?? {}) as Record<string, unknown>;
  return (
    v === LINE_VERSION &&
    Number.isSafeInteger(seq) &&
    (seq as number) > GENESIS.seq &&
    typeof ts === 'string' &&
    typeof mono_ms === 'number' &&
    typeof boot === 'string' &&
    typeof prev === 'string' &&
    HEX_64.test(prev) &&
    typeof hash === 'string' &&
    HEX_64.test(hash) &&
    typeof type === 'string'
  );
}

// In a canonical line the member `hash` is never last (`seq`, `ts`, ... sort after it), so it ends in a comma. The first
// place where it stands with its own value is the outer one: an inner one would need a hash that contains itself.
const withoutHash = (line: string, hash: string): string => line.replace(`"hash":"${hash}",`, '');

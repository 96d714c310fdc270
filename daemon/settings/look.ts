// Looking at a file or directory again only when it changed. What settings and the registry of principals are read through.
import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, openSync, readSync, statSync } from 'node:fs';
import type { Source } from './files.ts';

/** A larger file counts as unreadable. */
export const FILE_BYTES_MAX = 65_536;

/**
 * A change this young may be followed by another one that the file system stamps with the same time, so what was read
 * is looked at again. Kernel time stamps move in steps of at most 10 ms.
 */
const SETTLED_AFTER_MS = 1_000;

/** What was last seen under a path. `stat` is null where the next look has to read again. */
export interface Seen {
  readonly stat: BigIntStats | null;
  readonly source: Source;
}

const BIGINT = { bigint: true, throwIfNoEntry: false } as const;
// A fifo or device put in a file's place must not hold the daemon, nor become its terminal.
const READ_AT_ONCE = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

const ABSENT: Seen = { stat: null, source: { kind: 'absent' } };
const unreadable = (why: string): Seen => ({ stat: null, source: { kind: 'unreadable', why } });

/** What is under the path now; `before` itself if nothing changed. `now` gives milliseconds since 1970. */
export function look(path: string, before: Seen | undefined, now: () => number): Seen {
  try {
    const stat = statSync(path, BIGINT);
    if (stat === undefined) return lstatSync(path, BIGINT) === undefined ? ABSENT : unreadable('is a link to nothing');
    if (before !== undefined && hasSameStat(before.stat, stat)) return before;
    return stat.isFile() ? read(path, now) : unreadable('is not a regular file');
  } catch (error) {
    return unreadable(`gives ${codeOf(error)}`);
  }
}

function read(path: string, now: () => number): Seen {
  const file = openSync(path, READ_AT_ONCE);
  try {
    // The time is taken and the file looked at before it is read: what changes meanwhile shows at the next look.
    const at = now();
    const stat = fstatSync(file, { bigint: true });
    if (!stat.isFile()) return unreadable('is not a regular file');
    const bytes = readUpTo(file, FILE_BYTES_MAX + 1);
    if (bytes.length > FILE_BYTES_MAX) return unreadable(`is larger than ${FILE_BYTES_MAX} bytes`);
    // One character per byte: comments may be in any encoding, and every grammar is ASCII.
    return { stat: isSettled(stat, at) ? stat : null, source: { kind: 'text', text: bytes.toString('latin1') } };
  } finally {
    closeSync(file);
  }
}

function readUpTo(file: number, most: number): Buffer {
  const buffer = Buffer.allocUnsafe(most);
  let length = 0;
  while (length < most) {
    const got = readSync(file, buffer, length, most - length, null);
    if (got === 0) break;
    length += got;
  }
  return buffer.subarray(0, length);
}

/** The directory itself: `text` where there is one, `absent` where there is none, so that all files are what it is. */
export function lookAtFolder(dir: string, now: () => number): Seen {
  try {
    const at = now();
    const stat = statSync(dir, BIGINT);
    if (stat === undefined)
      return lstatSync(dir, BIGINT) === undefined ? ABSENT : unreadable('is below a link to nothing');
    if (!stat.isDirectory()) return unreadable('is below something that is not a directory');
    return { stat: isSettled(stat, at) ? stat : null, source: { kind: 'text', text: '' } };
  } catch (error) {
    return unreadable(`gives ${codeOf(error)}`);
  }
}

/** Whether nothing happened to what was seen, and nothing can have happened unseen. */
export const isSame = (before: Seen, after: Seen): boolean =>
  after.stat !== null && hasSameStat(before.stat, after.stat);

const hasSameStat = (before: BigIntStats | null, after: BigIntStats): boolean =>
  before !== null &&
  before.dev === after.dev &&
  before.ino === after.ino &&
  before.size === after.size &&
  before.mtimeNs === after.mtimeNs &&
  before.ctimeNs === after.ctimeNs;

// ctime alone: every write moves it, and nobody can set it back. A time in the future is not settled either.
const isSettled = (stat: BigIntStats, at: number): boolean => Number(stat.ctimeMs) + SETTLED_AFTER_MS < at;

/** Whether two looks found the same text, or the same trouble. */
export const isEqual = (a: Source, b: Source): boolean =>
  a.kind === b.kind &&
  (a.kind !== 'text' || a.text === (b as typeof a).text) &&
  (a.kind !== 'unreadable' || a.why === (b as typeof a).why);

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'an unknown error';

// Reads the operator files again when they changed, and only then. Nothing else reads `<etc>`'s settings.
import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FILE_NAMES, type FileName, parseSettings, type Source } from './files.ts';
import { POLICY_MODE_FILE } from './mode.ts';
import type { Settings } from './settings.ts';

export interface SettingsReader {
  /** The settings as they stand now. The same object for as long as no file's content changed. Never throws. */
  current(): Settings;
}

/** A larger file counts as unreadable. */
export const FILE_BYTES_MAX = 65_536;

/**
 * A change this young may be followed by another one that the file system stamps with the same time, so what was read
 * is looked at again. Kernel time stamps move in steps of at most 10 ms.
 */
const SETTLED_AFTER_MS = 1_000;

/** What was last seen under a path. `stat` is null where the next look has to read again. */
interface Seen {
  readonly stat: BigIntStats | null;
  readonly source: Source;
}

export interface SettingsOptions {
  /** The directory of qrexec's policy, whose mode is compared; without it nothing is. */
  readonly policyDir?: string;
  /** Told of every later settings, by whichever call first saw the change. */
  readonly changed?: (settings: Settings) => void;
}

/**
 * The settings below a directory; a directory that does not exist holds no files. `now` gives milliseconds since 1970.
 * Synchronous throughout, so that one call decides on one state of the files it looked at.
 */
export function openSettings(
  dir: string,
  now: () => number = Date.now,
  { policyDir, changed: told }: SettingsOptions = {},
): SettingsReader {
  const policyPath = policyDir === undefined ? null : join(policyDir, POLICY_MODE_FILE);
  let policy: Seen | undefined;
  const paths = new Map(FILE_NAMES.map((name) => [name, join(dir, name)]));
  const seen = new Map<FileName, Seen>();
  let folder: Seen | null = null;
  let settings: Settings | null = null;

  const current = (): Settings => {
    const folderBefore = folder;
    folder = lookAtFolder(dir, now);
    // A file can only appear, or become a link to nothing, by a change of its directory.
    const mayAppear = folderBefore === null || !isSame(folderBefore, folder);
    let changed = settings === null;
    for (const [name, path] of paths) {
      const before = seen.get(name);
      if (before?.source.kind === 'absent' && !mayAppear) continue;
      const after = folder.source.kind === 'text' ? look(path, before, now) : folder;
      seen.set(name, after);
      changed ||= before === undefined || !isEqual(before.source, after.source);
    }
    if (policyPath !== null) {
      const before = policy;
      policy = look(policyPath, before, now);
      changed ||= before === undefined || !isEqual(before.source, policy.source);
    }
    if (settings !== null && !changed) return settings;
    const isFirst = settings === null;
    const sources = new Map([...seen].map(([name, { source }]) => [name, source]));
    settings = parseSettings(sources, policyPath && policy ? { path: policyPath, source: policy.source } : null);
    if (!isFirst) told?.(settings);
    return settings;
  };
  return { current };
}

const BIGINT = { bigint: true, throwIfNoEntry: false } as const;
// A fifo or device put in a file's place must not hold the daemon, nor become its terminal.
const READ_AT_ONCE = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

const ABSENT: Seen = { stat: null, source: { kind: 'absent' } };
const unreadable = (why: string): Seen => ({ stat: null, source: { kind: 'unreadable', why } });

/** What is under the path now; `before` itself if nothing changed. */
function look(path: string, before: Seen | undefined, now: () => number): Seen {
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
function lookAtFolder(dir: string, now: () => number): Seen {
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

const isSame = (before: Seen, after: Seen): boolean => after.stat !== null && hasSameStat(before.stat, after.stat);

const hasSameStat = (before: BigIntStats | null, after: BigIntStats): boolean =>
  before !== null &&
  before.dev === after.dev &&
  before.ino === after.ino &&
  before.size === after.size &&
  before.mtimeNs === after.mtimeNs &&
  before.ctimeNs === after.ctimeNs;

// ctime alone: every write moves it, and nobody can set it back. A time in the future is not settled either.
const isSettled = (stat: BigIntStats, at: number): boolean => Number(stat.ctimeMs) + SETTLED_AFTER_MS < at;

const isEqual = (a: Source, b: Source): boolean =>
  a.kind === b.kind &&
  (a.kind !== 'text' || a.text === (b as typeof a).text) &&
  (a.kind !== 'unreadable' || a.why === (b as typeof a).why);

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'an unknown error';

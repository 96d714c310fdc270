// Changing operator files: all of a change or nothing of it. New contents are written beside the old ones and checked before
// anything is replaced; what was there is kept; a replacement that fails half-way is taken back by names alone, which needs
// no room on a disk that has just run out of it.
import { basename, dirname } from 'node:path';
import { Refusal } from '../command.ts';
import { type Former, keepBackup, pruneBackups } from './backups.ts';
import type { Disk, Owner } from './disk.ts';
import { failure } from './failure.ts';
import { type LockParts, withLock } from './lock.ts';

export interface Change {
  /** Absolute. */
  readonly path: string;
  /** The new content; null to have no such file. */
  readonly text: string | null;
  /** What was there when it was decided upon, null for no file; undefined where that does not matter. */
  readonly seen?: string | null | undefined;
}

/** A change whose new content lies beside its place; `staged` is null where the file is to go. */
export interface Staged extends Change {
  readonly staged: string | null;
}

export interface ChangeParts extends LockParts {
  readonly disk: Disk;
  /** `<etc>`; the lock and the backups are in it. */
  readonly etc: string;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
}

export interface Changed {
  readonly paths: readonly string[];
  /** null where everything was so already. */
  readonly backup: string | null;
}

export const backupsOf = (etc: string): string => `${etc}/backups`;

/**
 * Makes the changes in their order, so that the order decides what a crash between two of them leaves. `check` looks at the
 * staged contents, and rejects with Refusal where they must not come into force. Rejects with Refusal, and everything is as
 * before, where anything fails.
 */
export function changeTogether(
  by: string,
  changes: readonly Change[],
  check: (staged: readonly Staged[]) => Promise<void>,
  parts: ChangeParts,
): Promise<Changed> {
  return withLock(`${parts.etc}/.qmcpctl.lock`, parts, async () => {
    try {
      return await change(by, changes, check, parts);
    } catch (error) {
      throw error instanceof Refusal ? error : new Refusal(failure(error));
    }
  });
}

async function change(
  by: string,
  wanted: readonly Change[],
  check: (staged: readonly Staged[]) => Promise<void>,
  { disk, etc, now }: ChangeParts,
): Promise<Changed> {
  const leftovers = wanted.flatMap(({ path }) => [beside(path, 'new'), beside(path, 'old')]);
  for (const path of leftovers) await disk.remove(path);
  const before = await Promise.all(wanted.map(({ path }) => formerAt(disk, path)));
  const overtaken = wanted.find(({ seen }, index) => seen !== undefined && seen !== before[index]?.text);
  if (overtaken) {
    throw new Refusal(
      `Nothing was changed: somebody else has just changed ${overtaken.path}. Look again, then try again.`,
    );
  }
  const changes = wanted.filter(({ text }, index) => text !== before[index]?.text);
  if (changes.length === 0) {
    await check(wanted.map((each) => ({ ...each, staged: null })));
    return { paths: [], backup: null };
  }
  const former = before.filter(({ path }) => changes.some((each) => each.path === path));
  try {
    for (const [index, { path, text }] of changes.entries()) {
      if (text !== null) await disk.create(beside(path, 'new'), text, former[index] as Owner);
    }
    await check(
      wanted.map((each) => ({
        ...each,
        staged: changes.includes(each) && each.text !== null ? beside(each.path, 'new') : null,
      })),
    );
    const backup = await keepBackup(disk, backupsOf(etc), by, former, now());
    try {
      await replaceAll(disk, changes, former);
    } catch (error) {
      await disk.removeDirectory(`${backupsOf(etc)}/${backup}`).catch(() => {});
      throw error;
    }
    await pruneBackups(disk, backupsOf(etc)).catch(() => {});
    return { paths: changes.map(({ path }) => path), backup };
  } finally {
    // What cannot be taken away now is taken away before the next change.
    for (const path of leftovers) await disk.remove(path).catch(() => {});
  }
}

/** Replaces one after the other; puts those back that were replaced where one cannot be. */
async function replaceAll(disk: Disk, changes: readonly Change[], former: readonly Former[]): Promise<void> {
  const replaced: number[] = [];
  try {
    for (const [index, { path }] of changes.entries()) {
      if (former[index]?.text !== null) await disk.link(path, beside(path, 'old'));
    }
    for (const [index, { path, text }] of changes.entries()) {
      replaced.push(index);
      if (text === null) await disk.remove(path);
      else await disk.rename(beside(path, 'new'), path);
    }
    for (const directory of new Set(changes.map(({ path }) => dirname(path)))) await disk.syncDirectory(directory);
  } catch (error) {
    for (const index of replaced.toReversed()) {
      const { path } = changes[index] as Change;
      // Where the replacement itself failed, both names are the same file, and this does nothing.
      const back = former[index]?.text === null ? disk.remove(path) : disk.rename(beside(path, 'old'), path);
      await back.catch(() => {});
    }
    throw error;
  }
}

async function formerAt(disk: Disk, path: string): Promise<Former> {
  const found = await disk.read(path);
  if (found !== null) return { path, ...found };
  return { path, text: null, mode: 0o644, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

/** Hidden, so that nobody takes it for a setting or a policy. */
const beside = (path: string, what: 'new' | 'old'): string => `${dirname(path)}/.${basename(path)}.qmcpctl-${what}`;

// What operator files held before qmcpctl changed them: a directory per change below `<etc>/backups`, which is root's as the
// files are, so that a daemon that was taken over cannot slip anything into a restore.
import * as z from 'zod/mini';
import type { Disk, Owner } from './disk.ts';

/** So many are kept; the oldest make room. */
export const BACKUPS_MAX = 100;
const MANIFEST = 'manifest.json';
/** Sorted by name they are sorted by time. */
const ID = /^[0-9]{8}T[0-9]{9}Z(?:-[0-9]{1,3})?$/;

const owner = { mode: z.int(), uid: z.int(), gid: z.int() };
const manifest = z.strictObject({
  v: z.literal(1),
  made: z.iso.datetime(),
  by: z.string().check(z.maxLength(64)),
  files: z
    .array(
      z.strictObject({
        path: z.string().check(z.maxLength(4096), z.startsWith('/')),
        /** Below the backup; null where there was no file. */
        copy: z.nullable(z.string().check(z.regex(/^[0-9]{1,3}$/))),
        ...owner,
      }),
    )
    .check(z.maxLength(128)),
});

/** A file as it was; `text` is null where there was none. */
export interface Former extends Owner {
  readonly path: string;
  readonly text: string | null;
}
export interface Backup {
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly made: string;
  /** Which verb made it. */
  readonly by: string;
  readonly files: readonly Former[];
}

/** Writes a backup durably; gives its id. */
export async function keepBackup(
  disk: Disk,
  dir: string,
  by: string,
  files: readonly Former[],
  now: number,
): Promise<string> {
  await disk.makeDirectory(dir, 0o755);
  const made = new Date(now).toISOString();
  const stem = made.replace(/[-:.]/g, '');
  const there = new Set(await disk.list(dir));
  const id =
    [stem, ...Array.from({ length: 999 }, (_, n) => `${stem}-${n + 1}`)].find((each) => !there.has(each)) ?? stem;
  const unfinished = `${dir}/.new`;
  await disk.removeDirectory(unfinished);
  try {
    await disk.makeDirectory(unfinished, 0o755);
    const ours: Owner = { mode: 0o644, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const entries = [];
    for (const [index, { text, ...former }] of files.entries()) {
      if (text !== null) await disk.create(`${unfinished}/${index}`, text, ours);
      entries.push({ ...former, copy: text === null ? null : String(index) });
    }
    await disk.create(`${unfinished}/${MANIFEST}`, `${JSON.stringify({ v: 1, made, by, files: entries })}\n`, ours);
    await disk.syncDirectory(unfinished);
    await disk.rename(unfinished, `${dir}/${id}`);
    await disk.syncDirectory(dir);
    return id;
  } catch (error) {
    for (const path of [unfinished, `${dir}/${id}`]) await disk.removeDirectory(path).catch(() => {});
    throw error;
  }
}

/** Those that can be read, the newest first. */
export async function backupsIn(disk: Disk, dir: string): Promise<Backup[]> {
  const ids = (await disk.list(dir)).filter((name) => ID.test(name)).sort();
  const backups = await Promise.all(ids.toReversed().map((id) => backupIn(disk, dir, id)));
  return backups.filter((backup) => backup !== null);
}

async function backupIn(disk: Disk, dir: string, id: string): Promise<Backup | null> {
  const found = await disk.read(`${dir}/${id}/${MANIFEST}`);
  const parsed = manifest.safeParse(jsonIn(found?.text ?? ''));
  if (!parsed.success) return null;
  const files: Former[] = [];
  for (const { copy, ...former } of parsed.data.files) {
    const text = copy === null ? null : ((await disk.read(`${dir}/${id}/${copy}`))?.text ?? undefined);
    if (text === undefined) return null;
    files.push({ ...former, text });
  }
  return { id, made: parsed.data.made, by: parsed.data.by, files };
}

/** Removes the oldest of too many. */
export async function pruneBackups(disk: Disk, dir: string): Promise<void> {
  const ids = (await disk.list(dir)).filter((name) => ID.test(name)).sort();
  for (const id of ids.slice(0, Math.max(0, ids.length - BACKUPS_MAX))) await disk.removeDirectory(`${dir}/${id}`);
}

const jsonIn = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

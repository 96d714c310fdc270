// Moves the earlier implementation aside, and back. What is about to be moved is written down first, so that a move that was
// cut short anywhere can be gone on with, or taken back.
import { chmod, cp, lstat, mkdir, open, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import * as z from 'zod/mini';
import type { Tools } from '../../qubesadmin/tool.ts';
import { FILE_NAMES } from '../../settings/files.ts';
import { Refusal } from '../command.ts';
import type { Remain } from './remains.ts';

/** Root's alone: what is moved back from here runs as root. Each migration is a directory in it. */
export const MIGRATIONS = '/var/lib/qmcp-migration';
const MANIFEST = 'manifest.json';
const SETTINGS = '/etc/qmcp';
/** As the files of `<etc>` are installed; the daemon is neither root nor in root's group. */
const READABLE = 0o644;

export interface Parts {
  /** Everything is below it: `/` for this machine. */
  readonly root: string;
  /** What stops and starts units; null where the root is not the machine that runs. */
  readonly tools: Tools | null;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
}

const path = z.string().check(z.maxLength(4_096), z.startsWith('/'));
const unit = z.strictObject({
  name: z.string().check(z.regex(/^qmcp-[a-z-]+\.(?:service|timer|socket)$/)),
  user: z.nullable(z.string()),
});
const manifest = z.strictObject({
  v: z.literal(1),
  made: z.iso.datetime(),
  /** `to` is below the migration's own directory. */
  moved: z
    .array(z.strictObject({ from: path, to: z.string().check(z.regex(/^moved\/[0-9]{1,4}$/)) }))
    .check(z.maxLength(10_000)),
  /** Units that ran. */
  active: z.array(unit).check(z.maxLength(100)),
  /** Settings that the daemon could not have read, and their modes before. */
  modes: z.array(z.strictObject({ path, mode: z.int() })).check(z.maxLength(1_000)),
});
export type Migration = z.infer<typeof manifest> & { readonly directory: string };
type Unit = z.infer<typeof unit>;

/**
 * Moves all of it aside and makes the settings readable for the daemon. Rejects with Refusal where something cannot be done;
 * then everything is where it was, or the sentence says that it is not.
 */
export const moveAside = (remains: readonly Remain[], parts: Parts): Promise<Migration> =>
  explained(async () => {
    const made = new Date(parts.now()).toISOString();
    const directory = join(MIGRATIONS, made.replace(/[-:.]/g, ''));
    const units = unitsOf(remains);
    const migration: Migration = {
      directory,
      v: 1,
      made,
      moved: remains.map(({ path: from }, index) => ({ from, to: `moved/${index}` })),
      active: await activeOf(units, parts),
      modes: await unreadable(parts.root),
    };
    try {
      await mkdir(join(parts.root, directory, 'moved'), { recursive: true, mode: 0o700 });
      await copySettings(parts.root, directory);
      await writeManifest(migration, parts.root);
      for (const each of units) await systemctl('stop', each, parts);
      for (const { from, to } of migration.moved) await moveOne(parts.root, from, join(directory, to));
      for (const each of migration.modes) await chmod(join(parts.root, each.path), READABLE);
      await reload(units, parts);
      return migration;
    } catch (error) {
      if (await isTakenBack(migration, units, parts)) throw new Refusal(`Nothing was moved. ${sentenceOf(error)}`);
      throw new Refusal(`${sentenceOf(error)} A part of it was moved; to put that back: sudo qmcpctl migrate --back`);
    }
  });

/** Puts back what was moved before something failed, by names alone: that needs no room on a disk that has run out of it. */
const isTakenBack = async (migration: Migration, units: readonly Unit[], parts: Parts): Promise<boolean> => {
  const { directory, moved, modes, active } = migration;
  try {
    for (const { from, to } of moved.toReversed()) await moveOne(parts.root, join(directory, to), from);
    for (const each of modes) await chmod(join(parts.root, each.path), each.mode);
  } catch {
    return false;
  }
  await reload(units, parts);
  for (const each of active) await systemctl('start', each, parts);
  await rm(join(parts.root, directory), { recursive: true, force: true }).catch(() => {});
  await rmdir(join(parts.root, MIGRATIONS)).catch(() => {});
  return true;
};

/** Moves the newest migration back. Rejects with Refusal where there is none, or where something else is in the way. */
export const moveBack = (parts: Parts): Promise<Migration> =>
  explained(async () => {
    const migration = await newest(parts.root);
    if (migration === null) throw new Refusal(`There is nothing to move back: no migration is in ${MIGRATIONS}.`);
    const { directory, moved, modes, active } = migration;
    const waiting: typeof moved = [];
    for (const each of moved) if (await exists(join(parts.root, directory, each.to))) waiting.push(each);
    for (const { from } of waiting) {
      if (await exists(join(parts.root, from))) throw new Refusal(inTheWay(from));
    }
    for (const { from, to } of waiting.toReversed()) await moveOne(parts.root, join(directory, to), from);
    for (const each of modes) await chmod(join(parts.root, each.path), each.mode).catch(ifThere);
    await reload(active, parts);
    for (const each of active) await systemctl('start', each, parts);
    await rm(join(parts.root, directory, MANIFEST));
    await rm(join(parts.root, directory, 'moved'), { recursive: true });
    return migration;
  });

const inTheWay = (from: string): string =>
  dirname(from) === '/etc/qubes-rpc'
    ? `${from} is there already, so nothing was moved. Remove the package qmcp-broker first: its links are in that place.`
    : `${from} is there already, so nothing was moved. Move it away first.`;

/** Units among the files, with the user in whose session they run. */
const unitsOf = (remains: readonly Remain[]): Unit[] =>
  remains.flatMap(({ path: file }): Unit[] => {
    const user = /^\/home\/([^/]+)\/\.config\/systemd\/user\/[^/]+$/.exec(file)?.[1];
    if (user !== undefined) return [{ name: basename(file), user }];
    return dirname(file) === '/etc/systemd/system' ? [{ name: basename(file), user: null }] : [];
  });

const activeOf = async (units: readonly Unit[], parts: Parts): Promise<Unit[]> => {
  const active: Unit[] = [];
  for (const each of units) if ((await systemctl('is-active', each, parts)) === 'done') active.push(each);
  return active;
};

const systemctl = async (verb: string, { name, user }: Unit, { tools }: Parts): Promise<string> =>
  tools === null ? 'missing' : (await tools.run('systemctl', [...sessionOf(user), verb, name])).kind;

const sessionOf = (user: string | null): string[] => (user === null ? [] : ['--user', '-M', `${user}@`]);

const reload = async (units: readonly Unit[], { tools }: Parts): Promise<void> => {
  for (const user of new Set([null, ...units.map((each) => each.user)])) {
    await tools?.run('systemctl', [...sessionOf(user), 'daemon-reload']);
  }
};

const copySettings = async (root: string, directory: string): Promise<void> => {
  if (!(await exists(join(root, SETTINGS)))) return;
  await cp(join(root, SETTINGS), join(root, directory, 'etc-qmcp'), {
    recursive: true,
    verbatimSymlinks: true,
    preserveTimestamps: true,
  });
};

/** Settings that others than root cannot read: the daemon would take each for its strictest value. */
const unreadable = async (root: string): Promise<{ path: string; mode: number }[]> => {
  const found: { path: string; mode: number }[] = [];
  for (const name of FILE_NAMES) {
    const file = join(SETTINGS, name);
    const stats = await lstat(join(root, file)).catch(ifThere);
    if (stats?.isFile() && (stats.mode & 0o004) === 0) found.push({ path: file, mode: stats.mode & 0o7777 });
  }
  return found;
};

const moveOne = async (root: string, from: string, to: string): Promise<void> => {
  if (!(await exists(join(root, from)))) return;
  await mkdir(dirname(join(root, to)), { recursive: true });
  // Within one file system, so that it is there whole or not at all, with its owner and its modes.
  await rename(join(root, from), join(root, to));
};

const writeManifest = async ({ directory, ...content }: Migration, root: string): Promise<void> => {
  const file = await open(join(root, directory, `${MANIFEST}.new`), 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(content)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(join(root, directory, `${MANIFEST}.new`), join(root, directory, MANIFEST));
};

const newest = async (root: string): Promise<Migration | null> => {
  const names = await readdir(join(root, MIGRATIONS)).catch(ifThere);
  for (const name of (names ?? []).toSorted().toReversed()) {
    const directory = join(MIGRATIONS, name);
    const text = await readFile(join(root, directory, MANIFEST), 'utf8').catch(ifThere);
    if (text === undefined) continue;
    const parsed = manifest.safeParse(jsonIn(text));
    if (!parsed.success)
      throw new Refusal(`${directory}/${MANIFEST} is damaged. Move back by hand what is in ${directory}.`);
    return { ...parsed.data, directory };
  }
  return null;
};

const jsonIn = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

const exists = async (file: string): Promise<boolean> => (await lstat(file).catch(ifThere)) !== undefined;

/** For what may be missing. */
const ifThere = (error: NodeJS.ErrnoException): undefined => {
  if (error.code !== 'ENOENT') throw error;
};

const WHY: Readonly<Record<string, string>> = {
  EACCES: 'this user may not do that. Use sudo.',
  EPERM: 'this user may not do that. Use sudo.',
  ENOSPC: 'the disk is full. Free some space, then run it again.',
  EDQUOT: 'the disk quota is used up. Free some space, then run it again.',
  EFBIG: 'no file may get that large here. Raise the limit (ulimit -f), then run it again.',
  EROFS: 'the file system is read-only. Remount it, then run it again.',
  EXDEV: `it is on another file system than ${MIGRATIONS}. Move it away by hand, then run it again.`,
};

const explained = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(sentenceOf(error));
  }
};

const sentenceOf = (error: unknown): string => {
  const { code = '', path: at = '', message } = error as NodeJS.ErrnoException;
  return `${at === '' ? 'It could not be done' : at}: ${WHY[code] ?? `${message}.`}`;
};

// What changing operator files needs of the disk, small enough that a test can make any step of it fail.
import { constants } from 'node:fs';
import { chmod, link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { realFiles } from '../../journal/journal-files.ts';
import { printable, Refusal } from '../command.ts';

/** A larger file is none of ours. */
const MAX_BYTES = 1_048_576;

export interface Owner {
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}
export interface Found extends Owner {
  readonly text: string;
}

export interface Disk {
  /** A regular file, or null where there is nothing. Rejects with NotAFile for anything else. */
  read(path: string): Promise<Found | null>;
  /** Makes a file that was not there, durably. */
  create(path: string, text: string, owner: Owner): Promise<void>;
  /** Gives a file a second name. */
  link(path: string, name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Takes a name away, if it is there. */
  remove(path: string): Promise<void>;
  /** Removes a directory and all in it, if it is there. */
  removeDirectory(path: string): Promise<void>;
  /** Makes a directory where there is none. */
  makeDirectory(path: string, mode: number): Promise<void>;
  /** The names in a directory; none where there is no such directory. */
  list(path: string): Promise<readonly string[]>;
  /** What happened to the names in it is durable from then on. */
  syncDirectory(path: string): Promise<void>;
}

export class NotAFile extends Error {
  override readonly name = 'NotAFile';
}

export const realDisk: Disk = {
  async read(path) {
    // Opened first and looked at then: a lock may be gone between a look and an opening. O_NONBLOCK, or a pipe would wait
    // for somebody to write into it.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await open(path, flags).catch(unlessMissing).catch(orNotAFile(path));
    if (file === null) return null;
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > MAX_BYTES) throw new NotAFile(path);
      // As the parser reads it: comments may be in any encoding, and come back as they were.
      return { text: await file.readFile('latin1'), mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
    } finally {
      await file.close();
    }
  },
  async create(path, text, { mode, uid, gid }) {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(text, 'latin1');
      const own = await file.stat();
      if (own.uid !== uid || own.gid !== gid) await file.chown(uid, gid);
      // Whatever the umask is; after chown, which clears bits.
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  link,
  rename,
  remove: (path) => rm(path, { force: true }),
  removeDirectory: (path) => rm(path, { force: true, recursive: true }),
  async makeDirectory(path, mode) {
    const made = await mkdir(path, { recursive: true });
    if (made !== undefined) await chmod(path, mode);
  },
  list: async (path) => (await readdir(path).catch(unlessMissing)) ?? [],
  syncDirectory: realFiles.syncDirectory,
};

/** What is in a file, null where there is none. Rejects with Refusal where it cannot be read. */
export const textAt = async (path: string): Promise<string | null> => {
  try {
    return (await realDisk.read(path))?.text ?? null;
  } catch (error) {
    const why = error instanceof NotAFile ? 'it is no plain file, or too large' : (error as NodeJS.ErrnoException).code;
    throw new Refusal(`${printable(path)} cannot be read (${why}).`);
  }
};

const unlessMissing = (error: NodeJS.ErrnoException): null => {
  if (error.code === 'ENOENT') return null;
  throw error;
};

/** What open(2) says of a link under O_NOFOLLOW, and of a socket. */
const orNotAFile =
  (path: string) =>
  (error: NodeJS.ErrnoException): never => {
    throw error.code === 'ELOOP' || error.code === 'ENXIO' ? new NotAFile(path) : error;
  };

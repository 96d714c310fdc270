// The few operations on files that the journal needs, so that tests and the simulation can make each of them fail.
import { constants } from 'node:fs';
import { link, lstat, open, readdir, readFile, rename, unlink } from 'node:fs/promises';

/** What a path or an open file is at this moment; null where there is nothing. */
export interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
  readonly regular: boolean;
}

export interface JournalFile {
  identity(): Promise<FileIdentity>;
  /** Appends; may write less than all. Gives the number of bytes written. */
  write(bytes: Uint8Array): Promise<number>;
  /** Reads into `into` from `position`; 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>;
  datasync(): Promise<void>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

export interface JournalFiles {
  /** Opens for reading and appending, creating it where absent, 0600 unless said otherwise. Never follows a link in the last place. */
  openAppend(path: string, mode?: number): Promise<JournalFile>;
  /** Creates a file 0600 that must not exist yet. */
  createNew(path: string): Promise<JournalFile>;
  identify(path: string): Promise<FileIdentity | null>;
  /** The text of a small file, null where there is none. Never follows a link in the last place. */
  read(path: string): Promise<string | null>;
  /** Gives a file a second name, which must be free. */
  link(from: string, to: string): Promise<void>;
  /** Takes the place of `to`, in one step. */
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** The names in a directory. */
  list(dir: string): Promise<readonly string[]>;
  /** Makes names created or changed in a directory durable. */
  syncDirectory(path: string): Promise<void>;
}

const MODE = 0o600;
const APPEND = constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW;

export const realFiles: JournalFiles = {
  openAppend: (path, mode) => openFile(path, APPEND | constants.O_CREAT, mode),
  createNew: (path) => openFile(path, APPEND | constants.O_CREAT | constants.O_EXCL),
  identify: (path) => unlessAbsent(async () => identityOf(await lstat(path))),
  read: (path) =>
    unlessAbsent(() => readFile(path, { encoding: 'utf8', flag: constants.O_RDONLY | constants.O_NOFOLLOW })),
  link,
  rename,
  unlink,
  list: (dir) => readdir(dir),
  syncDirectory: async (path) => {
    const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
};

async function unlessAbsent<T>(look: () => Promise<T>): Promise<T | null> {
  try {
    return await look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function openFile(path: string, flags: number, mode = MODE): Promise<JournalFile> {
  const handle = await open(path, flags, mode);
  try {
    const stats = await handle.stat();
    // The mode of open is subject to the umask, and one that is there has its own.
    if (stats.isFile() && (stats.mode & 0o777) !== mode) await handle.chmod(mode);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return {
    identity: async () => identityOf(await handle.stat()),
    write: async (bytes) => (await handle.write(bytes)).bytesWritten,
    read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
    datasync: () => handle.datasync(),
    truncate: (size) => handle.truncate(size),
    close: () => handle.close(),
  };
}

const identityOf = (stats: { dev: number; ino: number; size: number; isFile(): boolean }): FileIdentity => ({
  dev: stats.dev,
  ino: stats.ino,
  size: stats.size,
  regular: stats.isFile(),
});

// Small files of state: read whole, and replaced whole, so that a crash leaves the old one or the new one.
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { realFiles } from './journal/journal-files.ts';

export interface StateFiles {
  /** The text of a file, null where there is none. Throws where there is one that cannot be read. */
  read(name: string): string | null;
  /** Resolves when the text is on disk under that name. Rejects with what the disk says, or where it is too long. */
  write(name: string, text: string): Promise<void>;
  /** For the operator. */
  pathOf(name: string): string;
}

/** Far more than an account is, or all sources by name. */
export const STATE_BYTES_MAX = 65_536;

/** The files in a directory, which is made at the first write, for the broker's user alone. */
export const stateFilesIn = (dir: string): StateFiles => {
  const pathOf = (name: string): string => join(dir, name);
  return {
    pathOf,
    read: (name) => {
      const stat = statSync(pathOf(name), { throwIfNoEntry: false });
      if (stat === undefined) return null;
      if (!stat.isFile() || stat.size > STATE_BYTES_MAX) throw new Error('it is no file that the broker wrote');
      return readFileSync(pathOf(name), 'utf8');
    },
    write: async (name, text) => {
      if (Buffer.byteLength(text) > STATE_BYTES_MAX) throw new Error('it is too long');
      const made = mkdirSync(dir, { recursive: true, mode: 0o700 });
      if (made !== undefined) await realFiles.syncDirectory(dirname(made));
      const unfinished = join(dir, `.${name}.new`);
      const file = await open(unfinished, 'w', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(unfinished, pathOf(name));
      await realFiles.syncDirectory(dir);
    },
  };
};

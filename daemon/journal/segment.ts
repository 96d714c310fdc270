// The open audit.jsonl: appends that are on disk when they resolve, and that notice a file changed behind our back.
import type { FileIdentity, JournalFile, JournalFiles } from './journal-files.ts';
import { JournalUnavailable } from './unavailable.ts';

/** What is known of the end of a file after the last append that was acknowledged. */
export interface Acknowledged {
  readonly identity: Pick<FileIdentity, 'dev' | 'ino'>;
  readonly size: number;
  /** The last whole line, without its newline, by which the end is recognised; null in an empty file, or where nobody asks. */
  readonly lastLine: string | null;
}

export interface Segment {
  acknowledged(): Acknowledged;
  /** Writes and syncs; lastLine is the last line of `bytes`. Rejects on any failure, after which only close() is left. */
  append(bytes: Buffer, lastLine: string | null): Promise<void>;
  close(): Promise<void>;
}

export function segmentOf(files: JournalFiles, path: string, file: JournalFile, start: Acknowledged): Segment {
  let known = start;
  return {
    acknowledged: () => known,
    async append(bytes, lastLine) {
      const present = await files.identify(path);
      if (present === null) throw new JournalUnavailable('the file was deleted');
      if (!isSame(present, known.identity)) throw new JournalUnavailable('the file was replaced by another');
      if (present.size !== known.size) throw new JournalUnavailable('somebody else wrote to the file');
      await writeAll(file, bytes);
      await file.datasync();
      known = { identity: known.identity, size: known.size + bytes.length, lastLine };
    },
    close: () => file.close(),
  };
}

export const isSame = (a: Pick<FileIdentity, 'dev' | 'ino'>, b: Pick<FileIdentity, 'dev' | 'ino'>): boolean =>
  a.dev === b.dev && a.ino === b.ino;

/** Appends all of `bytes`, however little each write takes. */
export async function writeAll(file: JournalFile, bytes: Uint8Array): Promise<void> {
  let rest = bytes;
  while (rest.length > 0) {
    const written = await file.write(rest);
    if (written === 0) throw new JournalUnavailable('the disk takes no more bytes');
    rest = rest.subarray(written);
  }
}

// Why the journal cannot take a record, in words for the operator.

/** What `append` rejects with. The message is for the operator and the log, never for a caller. */
export class JournalUnavailable extends Error {
  override readonly name = 'JournalUnavailable';
}

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; free some space',
  EDQUOT: 'the disk quota is used up; free some space',
  EROFS: 'the file system is read-only; check the disk and remount it',
  EACCES: 'permission is denied; the directory and the file must belong to the user of the broker',
  EPERM: 'it is not permitted; the file must belong to the user of the broker and not be immutable',
  EIO: 'the disk reports an error; check it',
  EFBIG: 'a limit on the length of files is reached; raise LimitFSIZE of the unit',
  ENOENT: 'its directory is missing; create it again',
  ELOOP: 'there is a symbolic link in its place; remove it',
  EMFILE: 'the broker has too many files open',
};

/** One sentence: what is wrong with the journal at `path` and what to do. */
export function reasonOf(path: string, error: unknown): string {
  return `The journal ${path} cannot be written: ${adviceOf(error)}. Changes are refused until it can; no restart is needed.`;
}

/** What the disk says and what to do about it, as a part of a sentence. */
export function adviceOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code ?? '';
  const why = ADVICE[code] ?? (error instanceof Error ? error.message : String(error));
  return code === '' ? why : `${why} (${code})`;
}

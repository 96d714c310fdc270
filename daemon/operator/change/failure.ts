// Why operator files could not be changed, in a sentence that says what to do.
import { NotAFile } from './disk.ts';

const WHY: Readonly<Record<string, string>> = {
  EACCES: 'this user may not write there. Use sudo.',
  EPERM: 'this user may not do that there. Use sudo.',
  ENOSPC: 'the disk is full. Free some space, then try again.',
  EDQUOT: 'the disk quota is used up. Free some space, then try again.',
  EFBIG: 'no file may get that large here. Raise the limit (ulimit -f), then try again.',
  EROFS: 'the file system is read-only. Remount it, then try again.',
  EIO: 'the disk reports an error. Look at: sudo dmesg',
  ENOENT: 'the directory is missing. Run qmcpctl init.',
  ENOTDIR: 'there is something that is no directory in its place. Move that away, then run qmcpctl init.',
};

export const failure = (error: unknown): string => {
  if (error instanceof NotAFile) {
    return `Nothing was changed: ${error.message} is a link, a directory or too large. Put a plain file there.`;
  }
  const { code, path } = error as NodeJS.ErrnoException;
  const why = WHY[code ?? ''] ?? `${error instanceof Error ? error.message : 'the disk reports an error'}.`;
  return `Nothing was changed: ${path === undefined ? '' : `${path}: `}${why}`;
};

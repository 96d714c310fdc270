// Where records are read from: the files of a journal directory in order, or one file, compressed or not; also while the
// broker goes on writing, closing and compressing them.
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { createGunzip } from 'node:zlib';
import { type OldFile, oldFiles } from './rotation.ts';

export interface Source {
  readonly path: string;
  /** What its name promises; null for the file that grows and for any file named otherwise. */
  readonly old: OldFile | null;
  /** The bytes of its records from the beginning; may be asked for again. */
  chunks(): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** The file that grows. */
export const CURRENT = 'audit.jsonl';
/** The broker begins a new file at most every few seconds: the second look at the directory mostly agrees already. */
const LOOKS = 10;

/**
 * The files of the journal in a directory, oldest first; none where there is none. Together they are one moment of the
 * journal: the growing file is held open, so that it stays the same one. Rejects when the directory cannot be read.
 */
export async function journalIn(dir: string): Promise<Source[]> {
  for (let look = 1; ; look += 1) {
    const before = oldFiles(await readdir(dir));
    const current = await currentFile(`${dir}/${CURRENT}`);
    const after = oldFiles(await readdir(dir));
    const isSteady = before.at(-1)?.last === after.at(-1)?.last;
    if (isSteady || look === LOOKS) {
      const old = after.map((file) => ({ path: `${dir}/${file.name}`, old: file, ...byName(`${dir}/${file.name}`) }));
      if (current === null) return old;
      const { path, handle } = current;
      // In the middle of a rotation, or after a kill there, the growing file has its next name already.
      const closed = (await isFile(handle, old.at(-1)?.path)) ? old.slice(0, -1) : old;
      return [...closed, { path, old: null, ...byHandle(handle) }];
    }
    await current?.handle.close();
  }
}

/** One file. Rejects when it cannot be opened. */
export async function fileSource(path: string): Promise<Source> {
  const handle = await open(path, 'r');
  if (path.endsWith('.gz')) {
    await handle.close();
    return { path, old: oldFiles([basename(path)])[0] ?? null, ...byName(path) };
  }
  return { path, old: oldFiles([basename(path)])[0] ?? null, ...byHandle(handle) };
}

async function currentFile(path: string): Promise<{ path: string; handle: FileHandle } | null> {
  try {
    return { path, handle: await open(path, 'r') };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Whether the open file has that name, too. */
async function isFile(handle: FileHandle, path: string | undefined): Promise<boolean> {
  if (path === undefined) return false;
  const [own, named] = [await handle.stat(), await stat(path).catch(() => null)];
  return named !== null && own.dev === named.dev && own.ino === named.ino;
}

const READ_BYTES = 256 * 1024;

const byHandle = (handle: FileHandle): Pick<Source, 'chunks' | 'close'> => ({
  chunks: () => handle.createReadStream({ start: 0, autoClose: false, highWaterMark: READ_BYTES }),
  close: () => handle.close(),
});

const byName = (path: string): Pick<Source, 'chunks' | 'close'> => ({
  chunks: () => chunksOf(path),
  close: async () => {},
});

async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  if (path.endsWith('.gz')) {
    yield* gunzipped(path);
    return;
  }
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // It has been compressed since its name was read.
    yield* gunzipped(`${path}.gz`);
    return;
  }
  yield* handle.createReadStream({ highWaterMark: READ_BYTES });
}

async function* gunzipped(path: string): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: READ_BYTES });
  const plain = createGunzip();
  // An error of the file has to end what reads from the decompressor.
  file.on('error', (error) => plain.destroy(error));
  try {
    yield* file.pipe(plain);
  } finally {
    file.destroy();
  }
}

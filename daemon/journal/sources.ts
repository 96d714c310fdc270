// Where records are read from: the files of a journal directory in order, or one file, compressed or not.
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { createGunzip } from 'node:zlib';
import { type OldFile, oldFiles } from './rotation.ts';

export interface Source {
  readonly path: string;
  /** What its name promises; null for the file that grows and for any file named otherwise. */
  readonly old: OldFile | null;
  /** Its size on the disk, for progress. */
  readonly bytes: number;
  chunks(): AsyncIterable<Uint8Array>;
}

const CURRENT = 'audit.jsonl';

/** The files of the journal in a directory, oldest first; none where there is none. Rejects when it cannot be read. */
export async function journalIn(dir: string): Promise<Source[]> {
  const names = await readdir(dir);
  const files = [...oldFiles(names).map(({ name }) => name), ...names.filter((name) => name === CURRENT)];
  return Promise.all(files.map((name) => fileSource(`${dir}/${name}`)));
}

/** One file. Rejects when there is none. */
export async function fileSource(path: string): Promise<Source> {
  return {
    path,
    old: oldFiles([basename(path)])[0] ?? null,
    bytes: (await stat(path)).size,
    chunks: () => chunksOfFile(path),
  };
}

async function* chunksOfFile(path: string): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: 256 * 1024 });
  if (!path.endsWith('.gz')) {
    yield* file;
    return;
  }
  const plain = createGunzip();
  // An error of the file has to end what reads from the decompressor.
  file.on('error', (error) => plain.destroy(error));
  try {
    yield* file.pipe(plain);
  } finally {
    file.destroy();
  }
}

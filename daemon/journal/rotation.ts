// The files of the journal: audit.jsonl, which grows, and before it audit-FIRST-LAST.jsonl[.gz], named for the numbers of
// their records. The chain runs through all of them.
import { createReadStream, createWriteStream } from 'node:fs';
import { open, readdir, rename, unlink } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { realFiles } from './journal-files.ts';

export interface RotationLimits {
  /** A file at least this long is followed by another, bytes. It also bounds what is read at a start. */
  readonly bytes: number;
  /** So is one whose first record is older than this, milliseconds; looked at when something is written. */
  readonly ageMs: number;
  /** So many old files are kept; what goes is named in the journal. */
  readonly keep: number;
}

/** 8 MiB are about 20,000 records and compress to about a tenth: the whole journal stays below a gigabyte. */
export const ROTATION: RotationLimits = { bytes: 8 * 1024 * 1024, ageMs: 30 * 24 * 3600 * 1000, keep: 1000 };

/** The records of an old file by its name. */
export interface OldFile {
  readonly name: string;
  readonly first: number;
  readonly last: number;
  readonly compressed: boolean;
}

const NAME = /^audit-(\d{12,16})-(\d{12,16})\.jsonl(\.gz)?$/;

export const oldFileName = (first: number, last: number): string => `audit-${digits(first)}-${digits(last)}.jsonl`;

const digits = (seq: number): string => String(seq).padStart(12, '0');

/** The old files among the names of a directory, oldest first. Where one is there plain and compressed, the plain counts. */
export function oldFiles(names: readonly string[]): OldFile[] {
  const files = names.flatMap((name): OldFile[] => {
    const match = NAME.exec(name);
    return match === null
      ? []
      : [{ name, first: Number(match[1]), last: Number(match[2]), compressed: match[3] !== undefined }];
  });
  const there = new Set(names);
  return files
    .filter(({ name, compressed }) => !compressed || !there.has(name.slice(0, -'.gz'.length)))
    .sort((a, b) => a.first - b.first || a.last - b.last);
}

/** The names alone, of which one file may have several. */
export const oldNames = (names: readonly string[]): string[] => names.filter((name) => NAME.test(name));

/** Compresses the old files that are not yet. Each is whole in one form or the other at every moment. */
export async function compressOldFiles(dir: string): Promise<void> {
  for (const { name, compressed } of oldFiles(await readdir(dir))) {
    if (compressed) continue;
    const target = `${dir}/${name}.gz`;
    try {
      await compress(`${dir}/${name}`, `${target}.new`);
    } catch (error) {
      // On a full disk half a copy would only take up room.
      await unlink(`${target}.new`).catch(() => {});
      throw error;
    }
    await rename(`${target}.new`, target);
    await realFiles.syncDirectory(dir);
    await unlink(`${dir}/${name}`);
  }
}

async function compress(from: string, to: string): Promise<void> {
  // Loaded when it is needed: it takes 0.2 MiB, and a journal is rotated seldom.
  const { createGzip } = await import('node:zlib');
  await pipeline(createReadStream(from), createGzip(), createWriteStream(to, { mode: 0o600 }));
  const written = await open(to, 'r');
  try {
    await written.sync();
  } finally {
    await written.close();
  }
}

// Beginning a new audit.jsonl, after a break or when the old one is long enough, in one step that a crash cannot halve.
import type { Tip } from './batch.ts';
import { type Draft, type Head, link } from './chain.ts';
import type { JournalFiles } from './journal-files.ts';
import type { Break, JournalRecord, SegmentStart } from './record.ts';
import { isSame, type Segment, segmentOf, writeAll } from './segment.ts';

export interface Place {
  readonly files: JournalFiles;
  readonly dir: string;
  /** <dir>/audit.jsonl */
  readonly path: string;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  readonly draft: (record: JournalRecord) => Draft;
}

/** What a new file is called until its first record is on disk; one left by a crash is begun anew. */
const UNFINISHED_NAME = 'audit.new';

/**
 * Makes a file with `opener` as the record after `after`, and puts it in the place of audit.jsonl. Until then the old file
 * has the name; afterwards it is called `kept`, or is gone when that is null. Rejects with what the disk says: then the
 * old file still has its name. When it resolves, the names are not durable yet.
 */
export async function beginFile(
  place: Place,
  opener: Break | SegmentStart,
  after: Head,
  kept: string | null,
): Promise<{ segment: Segment; tip: Tip }> {
  const { files, path, dir } = place;
  const file = await files.openAppend(`${dir}/${UNFINISHED_NAME}`);
  try {
    const sinceMs = place.now();
    const { line, head } = link(place.draft(opener), after);
    const bytes = Buffer.from(line);
    await file.truncate(0);
    await writeAll(file, bytes);
    await file.datasync();
    if (kept !== null) await files.link(path, `${dir}/${kept}`);
    try {
      await files.rename(`${dir}/${UNFINISHED_NAME}`, path);
    } catch (error) {
      if (kept !== null) await files.unlink(`${dir}/${kept}`).catch(() => {});
      throw error;
    }
    const known = { identity: await file.identity(), size: bytes.length, lastLine: line.slice(0, -1) };
    return { segment: segmentOf(files, path, file, known), tip: { head, unsigned: 1, firstSeq: head.seq, sinceMs } };
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  }
}

/** Removes the second name of audit.jsonl that a crash between the two steps above leaves behind. */
export async function removeSecondNames({ files, dir, path }: Place, names: readonly string[]): Promise<void> {
  const present = await files.identify(path);
  for (const name of names) {
    const other = await files.identify(`${dir}/${name}`);
    if (present !== null && other !== null && isSame(present, other)) await files.unlink(`${dir}/${name}`);
  }
}

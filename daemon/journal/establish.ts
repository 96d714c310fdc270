// Getting hold of audit.jsonl, at the start and after every failure: take it up where it verifiably ended, or keep what
// is there aside and begin a new file that says so. Nothing is ever thrown away and nothing is passed over in silence.
import { type Draft, type Head, link } from './chain.ts';
import type { FileIdentity, JournalFile, JournalFiles } from './journal-files.ts';
import type { UnfinishedIntent } from './open-intents.ts';
import type { Break, JournalRecord, Torn } from './record.ts';
import { scan } from './scan.ts';
import { type Acknowledged, isSame, type Segment, segmentOf, writeAll } from './segment.ts';
import { JournalUnavailable } from './unavailable.ts';

export interface Place {
  readonly files: JournalFiles;
  readonly dir: string;
  /** <dir>/audit.jsonl */
  readonly path: string;
  /** For the names of files kept aside: wall clock, milliseconds. */
  readonly now: () => number;
  readonly draft: (record: JournalRecord) => Draft;
}

/** What this process remembers of the file from before a failure. */
export interface Memory extends Acknowledged {
  readonly head: Head;
  /** The bytes of the append that failed, of which any part may be on the disk. */
  readonly unacknowledged: Buffer;
}

export interface Established {
  readonly segment: Segment;
  readonly head: Head;
  readonly findings: readonly (Torn | Break)[];
  /** Those of the findings that are still to be written, before anything else. */
  readonly front: readonly Draft[];
  /** Only where there was no memory: the intents of earlier starts. */
  readonly unfinished: readonly UnfinishedIntent[];
}

/** Opens the journal for the first time in this process. Rejects with whatever the disk says. */
export async function openFirst(place: Place): Promise<Established> {
  return withFile(place, async (file, identity) => {
    const { head, size, lastLine, open, tornBytes, broken } = await scan(file);
    const unfinished = open.list();
    if (broken !== null) {
      const found = { reason: broken.fault, line: broken.line, last_good_seq: head.seq };
      // The bad lines had numbers too; none of them is used again.
      return { ...(await begin(place, file, found, skip(head, broken.lines))), unfinished };
    }
    const findings: Torn[] = tornBytes > 0 ? [await cutTorn(place, file, size, tornBytes)] : [];
    const segment = segmentOf(place.files, place.path, file, { identity, size, lastLine });
    return { segment, head, findings, front: findings.map(place.draft), unfinished };
  });
}

/** Opens the journal again after a failure of this process. Rejects with whatever the disk says. */
export async function openAgain(place: Place, memory: Memory): Promise<Established> {
  return withFile(place, async (file, identity) => {
    const changed = await whatChanged(file, identity, memory);
    if (changed !== null) {
      const found = { reason: changed, line: null, last_good_seq: memory.head.seq };
      return { ...(await begin(place, file, found, memory.head)), unfinished: [] };
    }
    // What was never acknowledged was refused to whoever asked for it: it goes, so that the journal says the same.
    if (identity.size > memory.size) {
      await file.truncate(memory.size);
      await file.datasync();
    }
    const segment = segmentOf(place.files, place.path, file, memory);
    return { segment, head: memory.head, findings: [], front: [], unfinished: [] };
  });
}

async function withFile(
  place: Place,
  use: (file: JournalFile, identity: FileIdentity) => Promise<Established>,
): Promise<Established> {
  const file = await place.files.openAppend(place.path);
  try {
    const identity = await file.identity();
    if (!identity.regular) throw new JournalUnavailable('it is not a plain file; move it away');
    if (identity.size === 0) await place.files.syncDirectory(place.dir);
    return await use(file, identity);
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  }
}

/** Null when the file is the remembered one, with nothing after its acknowledged end but what we tried to write there. */
async function whatChanged(file: JournalFile, identity: FileIdentity, memory: Memory): Promise<string | null> {
  // A deleted file's number is soon given to another, so a number alone proves nothing.
  if (identity.size === 0 && memory.size > 0) return 'gone';
  if (!isSame(identity, memory.identity)) return 'replaced';
  if (identity.size < memory.size) return 'cut';
  const ending = Buffer.from(memory.lastLine === null ? '' : `${memory.lastLine}\n`);
  if (!(await readAt(file, memory.size - ending.length, ending.length)).equals(ending)) return 'changed';
  const extra = identity.size - memory.size;
  if (extra > memory.unacknowledged.length) return 'changed';
  const ours = memory.unacknowledged.subarray(0, extra);
  return (await readAt(file, memory.size, extra)).equals(ours) ? null : 'changed';
}

/**
 * Begins a new file with the record of a break, in one step: until the new file takes the name, the old one has it. The
 * old one stays under a name of its own, unless it is empty.
 */
async function begin(
  place: Place,
  old: JournalFile,
  found: Pick<Break, 'reason' | 'line' | 'last_good_seq'>,
  lastGood: Head,
): Promise<Omit<Established, 'unfinished'>> {
  const { files, path, dir } = place;
  const fresh = await files.openAppend(`${dir}/${UNFINISHED_NAME}`);
  try {
    const kept = (await old.identity()).size === 0 ? null : await freeName(place, 'broken');
    const finding: Break = { type: 'break', ...found, kept };
    const { line, head } = link(place.draft(finding), lastGood);
    await fresh.truncate(0);
    const text = Buffer.from(line);
    await writeAll(fresh, text);
    await fresh.datasync();
    if (kept !== null) await files.link(path, `${dir}/${kept}`);
    await files.rename(`${dir}/${UNFINISHED_NAME}`, path);
    await files.syncDirectory(dir);
    const known = { identity: await fresh.identity(), size: text.length, lastLine: line.slice(0, -1) };
    await old.close().catch(() => {});
    return { segment: segmentOf(files, path, fresh, known), head, findings: [finding], front: [] };
  } catch (error) {
    await fresh.close().catch(() => {});
    throw error;
  }
}

/** What a new file is called until its first record is on disk; one left by a crash is begun anew. */
const UNFINISHED_NAME = 'audit.new';

async function cutTorn(place: Place, file: JournalFile, size: number, bytes: number): Promise<Torn> {
  const kept = await freeName(place, 'torn');
  const aside = await place.files.createNew(`${place.dir}/${kept}`);
  try {
    const torn = await readAt(file, size, Math.min(bytes, MAX_TORN_BYTES));
    await writeAll(aside, torn);
    await aside.datasync();
  } finally {
    await aside.close();
  }
  await place.files.syncDirectory(place.dir);
  await file.truncate(size);
  await file.datasync();
  return { type: 'torn', kept, bytes };
}

/** No batch is longer, so no half-written one is either. */
export const MAX_TORN_BYTES = 8 * 1024 * 1024;
const MAX_NAMES = 1000;

/** A name in the journal's directory that is not taken: audit.torn-20260131T120000.000Z, with -1, -2, ... where needed. */
async function freeName({ files, dir, now }: Place, what: 'torn' | 'broken'): Promise<string> {
  const time = new Date(now()).toISOString().replaceAll(/[-:]/g, '');
  for (let count = 0; count < MAX_NAMES; count += 1) {
    const name = `audit.${what}-${time}${count === 0 ? '' : `-${count}`}${what === 'broken' ? '.jsonl' : ''}`;
    if ((await files.identify(`${dir}/${name}`)) === null) return name;
  }
  throw new JournalUnavailable(`there are ${MAX_NAMES} damaged files of the same moment beside it; move them away`);
}

async function readAt(file: JournalFile, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const count = await file.read(buffer.subarray(filled), position + filled);
    if (count === 0) break;
    filled += count;
  }
  return buffer.subarray(0, filled);
}

const skip = (head: Head, lines: number): Head => ({ seq: head.seq + lines, hash: head.hash });

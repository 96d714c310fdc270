// Getting hold of audit.jsonl, at the start and after every failure: take it up where it verifiably ended, or keep what
// is there aside and begin a new file that says so. Nothing is ever thrown away and nothing is passed over in silence.
import type { Tip } from './batch.ts';
import type { Draft, Head } from './chain.ts';
import type { FileIdentity, JournalFile } from './journal-files.ts';
import { chunksOf } from './lines.ts';
import { beginFile, type Place, removeSecondNames } from './new-file.ts';
import type { OpenIntents } from './open-intents.ts';
import type { AnchorTrouble, Break, CarriedIntent, KeyChange, Torn } from './record.ts';
import { oldNames } from './rotation.ts';
import { type Scan, scan } from './scan.ts';
import type { Seal } from './seal.ts';
import { type Acknowledged, isSame, type Segment, segmentOf, writeAll } from './segment.ts';
import { JournalUnavailable } from './unavailable.ts';

/** What was not as it should be, and is journalled as such. */
export type OpeningFinding = Torn | Break | AnchorTrouble | KeyChange;

/** What this process remembers of the file from before a failure. */
export interface Memory extends Acknowledged {
  readonly tip: Tip;
  /** The bytes of the append that failed, of which any part may be on the disk. */
  readonly unacknowledged: Buffer;
}

export interface Established {
  readonly segment: Segment;
  readonly tip: Tip;
  readonly findings: readonly OpeningFinding[];
  /** Those of the findings that are still to be written, before anything else. */
  readonly front: readonly Draft[];
}

/**
 * Opens the journal for the first time in this process. Rejects with whatever the disk says. The names of files are not
 * yet durable when it resolves.
 */
export async function openFirst(
  place: Place,
  seal: Seal | null,
): Promise<Established & { readonly open: OpenIntents }> {
  await removeSecondNames(place, oldNames(await place.files.list(place.dir)));
  const anchor = seal?.anchor.kind === 'head' ? seal.anchor.head : null;
  return withFile(place, async (file, identity) => {
    const found = await scan(file, anchor);
    const trouble = troubleOf(seal, found);
    const broken = breakIn(found, anchor);
    if (broken !== null) {
      // The bad lines had numbers too, and so had those that a checkpoint names; none of them is used again.
      const seq = Math.max(found.head.seq + (found.broken?.lines ?? 0), anchor?.seq ?? 0);
      const begun = await breakOff(place, file, broken, { seq, hash: found.head.hash }, found.open.carry());
      return { ...begun, open: found.open, findings: [...begun.findings, ...trouble], front: trouble.map(place.draft) };
    }
    const torn = found.tornBytes > 0 ? [await cutTorn(place, file, found)] : [];
    // The broker before this one may have been killed between a write and its sync: what is read is not yet on the disk.
    await file.datasync();
    const { head, unsigned, first, size, lastLine, open } = found;
    const findings = [...torn, ...trouble];
    return {
      segment: segmentOf(place.files, place.path, file, { identity, size, lastLine }),
      tip: { head, unsigned, firstSeq: first?.seq ?? head.seq + 1, sinceMs: first?.wallMs ?? place.now() },
      findings,
      front: findings.map(place.draft),
      open,
    };
  });
}

/** Opens the journal again after a failure of this process, in the same way. */
export async function openAgain(place: Place, memory: Memory, open: readonly CarriedIntent[]): Promise<Established> {
  return withFile(place, async (file, identity) => {
    const reason = await whatChanged(file, identity, memory);
    if (reason !== null) {
      const { head } = memory.tip;
      return breakOff(place, file, { reason, line: null, last_good_seq: head.seq }, head, open);
    }
    // What was never acknowledged was refused to whoever asked for it: it goes, so that the journal says the same.
    if (identity.size > memory.size) await file.truncate(memory.size);
    await file.datasync();
    return { segment: segmentOf(place.files, place.path, file, memory), tip: memory.tip, findings: [], front: [] };
  });
}

async function withFile<T>(place: Place, use: (file: JournalFile, identity: FileIdentity) => Promise<T>): Promise<T> {
  const file = await place.files.openAppend(place.path);
  try {
    const identity = await file.identity();
    if (!identity.regular) throw new JournalUnavailable('it is not a plain file; move it away');
    return await use(file, identity);
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  }
}

type BreakFound = Pick<Break, 'reason' | 'line' | 'last_good_seq'>;

/** What keeps the file from being gone on with; null when nothing does. */
function breakIn({ head, first, broken, tornBytes }: Scan, anchor: Head | null): BreakFound | null {
  if (broken !== null) return { reason: broken.fault, line: broken.line, last_good_seq: head.seq };
  if (anchor === null || head.seq >= anchor.seq) return null;
  const reason = first === null && tornBytes === 0 ? 'gone' : 'cut';
  return { reason, line: null, last_good_seq: head.seq };
}

/**
 * What is wrong with key and checkpoint. One checkpoint in the journal alone is a crash before it got into its own file; a
 * file that goes on from another follows one that ended in a checkpoint.
 */
function troubleOf(seal: Seal | null, { checkpoints, first }: Scan): (AnchorTrouble | KeyChange)[] {
  if (seal === null) return [];
  // With another key the former checkpoint cannot be verified, which says nothing beyond the loss of the key.
  if (seal.lostKey !== null) return [{ type: 'key', lost: seal.lostKey, key: seal.signer.keyId }];
  if (seal.anchor.kind === 'bad') return [{ type: 'anchor', found: 'bad' }];
  const wasKept = checkpoints > 1 || (first?.seq ?? 1) > 1;
  return seal.anchor.kind === 'none' && wasKept ? [{ type: 'anchor', found: 'missing' }] : [];
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

/** Goes on in a new file that begins with the record of a break. The open one is kept aside, unless it is empty. */
async function breakOff(
  place: Place,
  old: JournalFile,
  found: BreakFound,
  after: Head,
  open: readonly CarriedIntent[],
): Promise<Established> {
  const kept = (await old.identity()).size === 0 ? null : await freeName(place, 'broken');
  const finding: Break = { type: 'break', ...found, kept, open };
  const begun = await beginFile(place, finding, after, kept);
  await old.close().catch(() => {});
  return { ...begun, findings: [finding], front: [] };
}

async function cutTorn(place: Place, file: JournalFile, { size, tornBytes }: Scan): Promise<Torn> {
  const kept = await freeName(place, 'torn');
  const aside = await place.files.createNew(`${place.dir}/${kept}`);
  try {
    for await (const piece of chunksOf(file, size)) await writeAll(aside, piece);
    await aside.datasync();
  } finally {
    await aside.close();
  }
  await place.files.syncDirectory(place.dir);
  await file.truncate(size);
  return { type: 'torn', kept, bytes: tornBytes };
}

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

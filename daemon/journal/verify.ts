// Whether a journal is what the broker wrote: reads all its files once, at constant memory, and names the first record
// that is not. What it can show is said in checkpoint.ts and at each rule below.
import { basename } from 'node:path';
import { type ChainedRecord, type Fault, GENESIS, type Head, type LineVerdict } from './chain.ts';
import { CHECKPOINT_EVERY, isSignedBy, readStatement, type VerifyingKey } from './checkpoint.ts';
import { EARLIER_GENESIS, isEarlier, verifyEarlierLine } from './earlier-log.ts';
import { type Line, linesOf } from './lines.ts';
import { verifyFirstOrNext } from './scan.ts';
import { CURRENT, type Source } from './sources.ts';

export interface VerifyOptions {
  /** Whose signatures count; with none, checkpoints are only checked for fitting in. */
  readonly keys: readonly VerifyingKey[];
  /** The newest checkpoint kept elsewhere, its signature already checked. */
  readonly anchor: Head | null;
  /** The numbers of `break` records that the operator knows of. */
  readonly knownBreaks: ReadonlySet<number>;
  /** Whether the sources are the whole journal, so that a beginning that is missing has to be accounted for. */
  readonly whole: boolean;
  /** Called now and then. */
  readonly progress?: (records: number) => void;
}

/** What can be wrong, beyond what a line shows by itself. */
export type Wrong =
  | Fault
  | 'torn'
  | 'beginning'
  | 'checkpoint'
  | 'signature'
  | 'unsigned'
  | 'rewritten'
  | 'cut'
  | 'missing-file'
  | 'replaced'
  | 'unreadable';

export interface Finding {
  readonly what: Wrong;
  readonly file: string;
  /** From 1; null where it is not in a line. */
  readonly line: number | null;
  readonly seq: number | null;
  readonly sentence: string;
}

/** A record in which the broker itself says that something happened to the journal. */
export interface Remark {
  readonly type: string;
  readonly seq: number;
  readonly ts: string;
  readonly sentence: string;
}

export interface Report {
  readonly ok: boolean;
  readonly format: 'journal' | 'earlier' | 'empty';
  readonly records: number;
  readonly fault: Finding | null;
  /** Breaks nobody has said to know of: they count as faults. */
  readonly breaks: readonly Remark[];
  readonly remarks: readonly Remark[];
  /** The newest record that a signed checkpoint covers; null where no signature was checked. */
  readonly signedUpTo: number | null;
  readonly last: number | null;
}

const PROGRESS_EVERY = 20_000;
/** More remarks are only counted: a hostile file must not fill the memory. */
export const MAX_REMARKS = 1000;

/** Verifies the files in their order, as one chain. Never rejects for what is in them or for not being able to read one. */
export async function verifyJournal(sources: readonly Source[], options: VerifyOptions): Promise<Report> {
  let walk: Walk | null = null;
  let records = 0;
  let fault: Finding | null = null;
  for (const source of sources) {
    try {
      for await (const lines of linesOf(source.chunks())) {
        for (const line of lines) {
          walk ??= line.text !== null && isEarlier(line.text) ? earlierWalk(options) : journalWalk(options);
          fault = walk.see(source, line);
          if (fault !== null) break;
          records += 1;
          if (records % PROGRESS_EVERY === 0) options.progress?.(records);
        }
        if (fault !== null) break;
      }
    } catch (error) {
      fault = finding('unreadable', source.path, null, null, error instanceof Error ? error.message : String(error));
    }
    // Also where nothing was read yet: an old file that was emptied is cut.
    fault ??= (walk ?? journalWalk(options)).endOf(source);
    if (fault !== null) break;
  }
  const lastFile = sources.at(-1)?.path ?? '';
  walk ??= journalWalk(options);
  fault ??= walk.end(lastFile);
  const format = records === 0 && fault === null ? 'empty' : walk.format;
  const { remarks, breaks, signedUpTo, last } = walk;
  return { ok: fault === null && breaks.length === 0, format, records, fault, breaks, remarks, signedUpTo, last };
}

/** The state of going through one chain. */
interface Walk {
  readonly format: 'journal' | 'earlier';
  readonly remarks: readonly Remark[];
  readonly breaks: readonly Remark[];
  readonly signedUpTo: number | null;
  readonly last: number | null;
  see(source: Source, line: Line): Finding | null;
  endOf(source: Source): Finding | null;
  end(lastFile: string): Finding | null;
}

function journalWalk({ keys, anchor, knownBreaks, whole }: VerifyOptions): Walk {
  const remarks: Remark[] = [];
  // Apart from the remarks: no number of those may leave a break unsaid.
  const breaks: Remark[] = [];
  let head: Head | null = null;
  let first: ChainedRecord | null = null;
  let unsigned = 0;
  let signedUpTo: number | null = null;
  let isAccounted = false;

  const inChain = (line: Line): LineVerdict => {
    const verdict = verifyFirstOrNext(line.text, head);
    if (verdict.ok || head === null || line.number !== 1) return verdict;
    // A break says itself that it does not follow what is left before it; but numbers never go back.
    const alone = verifyFirstOrNext(line.text, null);
    return alone.ok && alone.record.type === 'break' && alone.head.seq > head.seq ? alone : verdict;
  };

  const checkpointFault = (record: ChainedRecord): Wrong | null => {
    const { statement, signature, key } = record;
    const stated = readStatement({ statement });
    if (stated === null || stated.seq !== record.seq - 1 || stated.hash !== record.prev) return 'checkpoint';
    return keys.length > 0 && !isSignedBy({ statement, signature, key }, keys) ? 'signature' : null;
  };

  return {
    format: 'journal',
    remarks,
    breaks,
    get signedUpTo() {
      return signedUpTo;
    },
    get last() {
      return head?.seq ?? null;
    },
    see(source, line) {
      const wrong = (what: Wrong, seq: number | null) => finding(what, source.path, line.number, seq);
      if (!line.whole) return wrong('torn', null);
      const before = head;
      const verdict = inChain(line);
      if (!verdict.ok)
        return wrong(before === null && verdict.fault === 'prev' ? 'beginning' : verdict.fault, verdict.seq);
      const { record } = verdict;
      first ??= record;
      head = verdict.head;
      if (head.seq === anchor?.seq && head.hash !== anchor.hash) return wrong('rewritten', head.seq);
      if (record.type === 'checkpoint') {
        const fault = checkpointFault(record);
        if (fault !== null) return wrong(fault, head.seq);
        unsigned = 0;
        if (keys.length > 0) signedUpTo = head.seq;
      } else {
        unsigned += 1;
        // The writer never leaves a longer stretch: somebody took the checkpoints out of it and rewrote it.
        if (keys.length > 0 && unsigned >= CHECKPOINT_EVERY) return wrong('unsigned', head.seq);
      }
      if (record.type === 'pruned' && record.last_seq === first.seq - 1) isAccounted = true;
      const sentence = REMARKS[record.type]?.(record);
      if (sentence === undefined) return null;
      const remark = { type: record.type, seq: record.seq, ts: record.ts, sentence };
      if (remarks.length < MAX_REMARKS) remarks.push(remark);
      const isNew = record.type === 'break' && !knownBreaks.has(record.seq);
      if (isNew && breaks.length < MAX_REMARKS) breaks.push(remark);
      return null;
    },
    endOf({ path, old }) {
      // The name of an old file says what was in it when it was closed.
      return old !== null && (head?.seq ?? 0) !== old.last ? finding('cut', path, null, head?.seq ?? null) : null;
    },
    end(lastFile) {
      if (anchor !== null && (head?.seq ?? 0) < anchor.seq) {
        const missing = `a signed checkpoint names record ${anchor.seq}, the file ends at ${head?.seq ?? 'none'}`;
        return finding('cut', lastFile, null, head?.seq ?? null, missing);
      }
      const start: ChainedRecord | null = first;
      if (whole && !isAccounted && start?.type === 'segment') return finding('missing-file', lastFile, null, start.seq);
      return null;
    },
  };
}

function earlierWalk({ anchor, whole }: VerifyOptions): Walk {
  let head = EARLIER_GENESIS;
  return {
    format: 'earlier',
    remarks: [],
    breaks: [],
    signedUpTo: null,
    get last() {
      return head === GENESIS ? null : head.seq;
    },
    see({ path }, line) {
      if (line.text === null) return finding('unparseable', path, line.number, null);
      const verdict = verifyEarlierLine(line.text, head);
      if (!verdict.ok) return finding(verdict.fault, path, line.number, verdict.seq);
      head = verdict.head;
      return null;
    },
    endOf: () => null,
    // Anybody can make such a log, so where a journal of ours is known to have been it does not stand for that.
    end: (lastFile) =>
      anchor !== null && (whole || basename(lastFile) === CURRENT) ? finding('replaced', lastFile, null, null) : null,
  };
}

const WORDS: Readonly<Record<Wrong, string>> = {
  unparseable: 'is not a record of the journal: it is damaged, or something else wrote it',
  hash: 'was changed after it was written: its hash does not fit what it says',
  prev: 'does not follow the record before it: records there were removed, put in, moved or rewritten',
  seq: 'has the wrong number: it does not follow the record before it',
  torn: 'ends in the middle: it was cut off, or is being written at this moment; if so, verify once more',
  beginning: 'is not the first record of a journal: the beginning is missing',
  checkpoint: 'is a checkpoint that does not fit the records before it',
  signature: 'is a checkpoint that none of the given keys signed',
  unsigned: `is the ${CHECKPOINT_EVERY}th without a signed checkpoint: the records before it were rewritten`,
  rewritten: 'is not the one that the newest checkpoint names: the journal was rewritten, or an old copy put back',
  cut: 'is the last, but records after it are missing',
  'missing-file': 'is the first, but the files before it are missing and no record says that they were removed',
  replaced:
    'is a log as the earlier implementation wrote it, without signatures, but a signed checkpoint tells of a journal: that was taken away',
  unreadable: 'cannot be read',
};

function finding(what: Wrong, file: string, line: number | null, seq: number | null, detail?: string): Finding {
  const record = seq === null ? '' : `record ${seq}`;
  const place = line === null ? record : record === '' ? `line ${line}` : `line ${line} (${record})`;
  const sentence = `${file}: ${place === '' ? 'it' : place} ${WORDS[what]}${detail === undefined ? '' : ` (${detail})`}.`;
  return { what, file, line, seq, sentence };
}

const kept = (name: unknown): string => (typeof name === 'string' ? `; what was there is kept as ${name}` : '');

/** What the broker's own records about the journal mean, for the person who verifies it. */
const REMARKS: Readonly<Record<string, (record: ChainedRecord) => string>> = {
  break: (record) =>
    `The journal was found damaged (${record.reason}) after record ${record.last_good_seq}${kept(record.kept)}. ` +
    'Find out why; then give this number with --known-break.',
  torn: (record) => `A crash left a half-written record of ${record.bytes} bytes; it is kept as ${record.kept}.`,
  gap: (record) =>
    `The journal could not be written for a while: ${record.refused} records refused, ${record.lost} lost.`,
  anchor: (record) => `At a start the file with the newest checkpoint was ${record.found}.`,
  key: (record) => `The signing key ${record.lost} was gone at a start; from here on ${record.key} signs.`,
  pruned: (record) => `The old file ${record.file} was removed because there were too many.`,
};

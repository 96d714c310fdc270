// The writer of the journal. Whoever asks for an effect appends and waits: the promise resolves when the record is on
// disk (I3, I4). Records that arrive while one write runs share the next one, in the order in which they came.
import { batchOf, type Sealing, type Tip } from './batch.ts';
import { type Draft, draft } from './chain.ts';
import type { SignedHead } from './checkpoint.ts';
import { type Memory, type OpeningFinding, openAgain, openFirst } from './establish.ts';
import { type JournalFiles, realFiles } from './journal-files.ts';
import { beginFile, type Place, removeSecondNames } from './new-file.ts';
import { type OpenIntents, openIntents, type UnfinishedIntent } from './open-intents.ts';
import type { JournalRecord, SegmentStart } from './record.ts';
import { compressOldFiles, oldFileName, oldFiles, oldNames, ROTATION, type RotationLimits } from './rotation.ts';
import { openSeal, type Seal } from './seal.ts';
import type { Segment } from './segment.ts';
import { JournalUnavailable, reasonOf } from './unavailable.ts';

/** Records waiting for the disk; one more is refused (append) or lost and counted (note). */
export const MAX_QUEUED = 4096;
/** The same in bytes. */
export const MAX_QUEUED_BYTES = 16 * 1024 * 1024;
/**
 * So many outcomes find room besides, since what a caller floods must not push out how an effect ended. Each follows an
 * intent on disk, so while the disk is away there are no more than calls that were in flight.
 */
export const MAX_OUTCOMES_QUEUED = 1024;
const MAX_OUTCOMES_BYTES = 4 * 1024 * 1024;
/** A longer record is refused: nothing the broker has to say comes near it. */
export const MAX_RECORD_BYTES = 64 * 1024;
/** So long after the first record that no checkpoint covers, one is made. Without news nothing happens at all. */
export const CHECKPOINT_AFTER_MS = 5 * 60 * 1000;

export interface JournalOptions {
  /** The directory of audit.jsonl, which must exist. */
  readonly dir: string;
  /** The directory of the key and of the newest checkpoint; without it the journal is chained but not signed. */
  readonly state?: string;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** /proc/sys/kernel/random/boot_id: which start of the machine the monotonic clock belongs to. */
  readonly bootId: string;
  readonly files?: JournalFiles;
  readonly rotation?: RotationLimits;
  /** Makes old files in the directory small. */
  readonly compress?: (dir: string) => Promise<void>;
  /** Runs something once after so many milliseconds; gives what calls it off. */
  readonly after?: (ms: number, run: () => void) => () => void;
  /** Called when the journal could be opened only after openJournal had returned, or came back after a failure. */
  readonly reopened?: (opening: Opening) => void;
  /** Called whenever `health` says something else than before; at first where it is not well. */
  readonly healthChanged?: (health: Health) => void;
}

/** What was found on opening. The findings are journalled already. */
export interface Opening {
  readonly unfinished: readonly UnfinishedIntent[];
  readonly findings: readonly OpeningFinding[];
}

const NOTHING: Opening = { unfinished: [], findings: [] };

/** A warning is about what the journal stands on (its second file, old files); it goes on taking records. */
export type Health = { readonly ok: true; readonly warning?: string } | { readonly ok: false; readonly reason: string };

export interface Journal {
  /** Resolves with the record's number when it is on disk. Rejects with JournalUnavailable: then it is not in the journal. */
  append(record: JournalRecord): Promise<{ seq: number }>;
  /** For records nobody waits for: same order, same batches. Never throws; what is lost is counted in a `gap` record. */
  note(record: JournalRecord): void;
  /** The intents that are on disk and still open, oldest first: those under way, and those that left something. */
  unfinished(): readonly UnfinishedIntent[];
  /** As of the last write. Stays bad until a write succeeds: every append and `recover` tries. */
  health(): Health;
  /** Waits for what is queued, and tries to come back where the journal is down. */
  recover(): Promise<Health>;
  /** Writes what is queued and a checkpoint, and closes. Afterwards append rejects and note does nothing. */
  close(): Promise<void>;
}

/**
 * Opens `<dir>/audit.jsonl`, verifies it and goes on where it ended. Never rejects for the sake of the disk: a journal that
 * cannot be written has a bad `health`, refuses every append (I7), and tries again at each.
 */
export async function openJournal(options: JournalOptions): Promise<{ journal: Journal } & Opening> {
  const { dir, now, monotonicMs, bootId, files = realFiles } = options;
  const { rotation = ROTATION, compress = compressOldFiles, after = afterUnreferenced } = options;

  let state: State = { kind: 'unopened' };
  let seal: Seal | null = null;
  let open: OpenIntents = openIntents();
  let queue: Entry[] = [];
  let queuedBytes = 0;
  let flushing: Promise<void> | null = null;
  let tidying: Promise<void> = Promise.resolve();
  let callOff: (() => void) | null = null;
  let wantsCheckpoint = false;
  /** The newest checkpoint, where the second file does not have it yet. */
  let unkept: SignedHead | null = null;
  let closed = false;
  let begun = false;
  let opening: Opening = NOTHING;
  /** What was found on opening and nobody was told of yet: what fails after that must not swallow it. */
  let untold: Opening = NOTHING;
  const missing = { refused: 0, lost: 0 };
  const trouble: Trouble = { write: null, anchor: null, tidy: null };
  let told: string | null = null;

  const snapshot = (record: JournalRecord, wallMs = now()): Draft =>
    draft(record, { wallMs, monoMs: monotonicMs(), boot: bootId });
  const place: Place = { files, dir, path: `${dir}/audit.jsonl`, now, draft: (record) => snapshot(record) };
  const sealing: Sealing = { signHead: (head) => (seal as Seal).signer.signHead(head, now()), draft: snapshot };

  const setQueue = (entries: Entry[]) => {
    queue = entries;
    queuedBytes = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  };

  const enqueue = (record: JournalRecord, resolve: Entry['resolve'], refuse: Entry['refuse']) => {
    if (closed) throw new JournalUnavailable('it is closed');
    const wallMs = now();
    const draft = snapshot(record, wallMs);
    const bytes = bytesOf(draft);
    if (bytes > MAX_RECORD_BYTES) throw new JournalUnavailable('a record is too long for it');
    // The write starts when this turn of the event loop ends, so that the records of one turn share it. It also starts
    // for a record that finds no room: what fills the queue while the journal is down has to get out of it again.
    flushing ??= Promise.resolve().then(flush);
    const [more, moreBytes] =
      record.type === 'outcome' || record.type === 'step' ? [MAX_OUTCOMES_QUEUED, MAX_OUTCOMES_BYTES] : [0, 0];
    if (queue.length >= MAX_QUEUED + more || queuedBytes + bytes > MAX_QUEUED_BYTES + moreBytes) {
      throw new JournalUnavailable('too many records wait for the disk');
    }
    queue.push({ record, wallMs, draft, bytes, resolve, refuse });
    queuedBytes += bytes;
  };

  const append = (record: JournalRecord): Promise<{ seq: number }> =>
    new Promise((resolve, reject) => {
      const refuse = (error: unknown) => {
        missing.refused += 1;
        reject(error instanceof JournalUnavailable ? error : new JournalUnavailable(reasonOf(place.path, error)));
      };
      try {
        enqueue(record, resolve, refuse);
      } catch (error) {
        refuse(error);
      }
    });

  const note = (record: JournalRecord): void => {
    try {
      enqueue(record, null, null);
    } catch {
      missing.lost += 1;
    }
  };

  async function flush(): Promise<void> {
    let failure: unknown = null;
    try {
      do await writeBatch();
      while (queue.length > 0 || wantsCheckpoint);
    } catch (error) {
      failure = error;
      await letGo();
    }
    // From here on without a wait in between: whoever queues next starts the next flush.
    flushing = null;
    wantsCheckpoint = false;
    if (failure === null) {
      trouble.write = null;
      watchForNews();
    } else {
      trouble.write = reasonOf(place.path, failure);
      refuseAll(new JournalUnavailable(trouble.write));
    }
    tell();
  }

  async function writeBatch(): Promise<void> {
    const { segment, tip, front } = await writable();
    const isOld = now() - tip.sinceMs >= rotation.ageMs;
    const isFull = (bytes: number) => segment.acknowledged().size + bytes >= rotation.bytes;
    const endsSigned = (bytes: number) => wantsCheckpoint || isOld || isFull(bytes);
    const counted = { ...missing };
    const gap = counted.refused + counted.lost > 0 ? [snapshot({ type: 'gap', ...counted })] : [];
    const own = [...front, ...gap];
    const batch = batchOf({ own, queue, draftOf, tip, seal: seal === null ? null : sealing, endsSigned });
    const isAsked = wantsCheckpoint;
    wantsCheckpoint = false;
    if (batch.bytes.length > 0) {
      // Taken off the queue before the wait: what arrives during it belongs to the next batch.
      const taken = queue.slice(0, batch.entries.length);
      setQueue(queue.slice(taken.length));
      state = { kind: 'writing', segment, tip, front, taken, bytes: batch.bytes };
      await segment.append(batch.bytes, batch.lastLine);
      missing.refused -= counted.refused;
      missing.lost -= counted.lost;
      state = { kind: 'open', segment, tip: batch.tip, front: [] };
      trouble.write = null;
      for (const { entry, seq } of batch.entries) {
        open.see({ ...entry.record, seq, ts: new Date(entry.wallMs).toISOString() });
        entry.resolve?.({ seq });
      }
    }
    unkept = batch.signed ?? unkept;
    if (unkept !== null && (batch.signed !== null || isAsked)) {
      // After the records are acknowledged: the second file is never ahead of the journal, and nobody waits for it.
      trouble.anchor = await troubleWith(seal?.keep(unkept), 'The newest checkpoint cannot be kept');
      if (trouble.anchor === null) unkept = null;
      if (trouble.tidy !== null) tidy();
    }
    // Not at the end: the record that opens the next file would be the one that no checkpoint covers.
    if (!closed && (isOld || isFull(0))) await rotate();
  }

  /** The state in which a batch can be written; opens the journal where it is not. */
  async function writable(): Promise<Open> {
    if (state.kind === 'open') return state;
    if (state.kind === 'writing') throw new Error('two writes to the journal at once');
    const carried = state.kind === 'lost' ? state.front : [];
    const isFirst = state.kind === 'unopened';
    const found = state.kind === 'lost' ? await openAgain(place, state.memory, open.carry()) : await first();
    const { segment, tip, findings } = found;
    const opened: Open = { kind: 'open', segment, tip, front: [...carried, ...found.front] };
    state = opened;
    untold = {
      unfinished: isFirst ? open.list() : untold.unfinished,
      findings: [...untold.findings, ...findings],
    };
    // Of a file that was found to be another's it says nothing any more.
    if (findings.length > 0) unkept = null;
    await files.syncDirectory(dir);
    const told = untold;
    untold = NOTHING;
    if (begun) options.reopened?.(told);
    else opening = told;
    return opened;

    async function first() {
      if (options.state !== undefined) seal ??= await openSeal(options.state, dir, files);
      const found = await openFirst(place, seal);
      open = found.open;
      tidy();
      return found;
    }
  }

  /** After a failure: closes the file, remembers where it ended, and puts what was being written back into the queue. */
  async function letGo(): Promise<void> {
    if (state.kind !== 'writing' && state.kind !== 'open') return;
    const { segment, tip, front } = state;
    if (state.kind === 'writing') setQueue([...state.taken, ...queue]);
    const unacknowledged = state.kind === 'writing' ? state.bytes : Buffer.alloc(0);
    const memory: Memory = { ...segment.acknowledged(), tip, unacknowledged };
    state = { kind: 'lost', memory, front };
    await segment.close().catch(() => {});
  }

  /** Appends are refused and never written later; notes wait for the journal to come back. */
  function refuseAll(refusal: JournalUnavailable): void {
    const waiting = queue;
    setQueue(waiting.filter(({ refuse }) => refuse === null));
    for (const { refuse } of waiting) refuse?.(refusal);
  }

  async function rotate(): Promise<void> {
    if (state.kind !== 'open') return;
    const { segment, tip, front } = state;
    // A file that holds nothing but its opener is not followed by another, whatever the limits say.
    if (tip.head.seq <= tip.firstSeq) return;
    await removeSecondNames(place, oldNames(await files.list(dir)));
    const previous = oldFileName(tip.firstSeq, tip.head.seq);
    const opener: SegmentStart = { type: 'segment', previous, open: open.carry() };
    const next = await beginFile(place, opener, tip.head, previous);
    state = { kind: 'open', ...next, front };
    await segment.close().catch(() => {});
    await files.syncDirectory(dir);
    tidy();
  }

  /** Compresses old files, and removes the oldest of too many once the journal says so. One run after the other. */
  function tidy(): void {
    tidying = tidying.then(async () => {
      trouble.tidy = await troubleWith(tidyOnce(), 'Old files of the journal cannot be compressed or removed');
      tell();
    });
  }

  async function tidyOnce(): Promise<void> {
    await compress(dir);
    const old = oldFiles(await files.list(dir));
    for (const { name, first, last } of old.slice(0, Math.max(0, old.length - rotation.keep))) {
      if (closed) return;
      await append({ type: 'pruned', file: name, first_seq: first, last_seq: last });
      await files.unlink(`${dir}/${name}`);
    }
  }

  /** Arms the one timer while there is something that no checkpoint covers, and only then. */
  function watchForNews(): void {
    const isUncovered = unkept !== null || (state.kind === 'open' && state.tip.unsigned > 0);
    const hasNews = seal !== null && !closed && state.kind === 'open' && isUncovered;
    if (hasNews && callOff === null) {
      callOff = after(CHECKPOINT_AFTER_MS, () => {
        callOff = null;
        wantsCheckpoint = true;
        flushing ??= flush();
      });
    } else if (!hasNews) {
      callOff?.();
      callOff = null;
    }
  }

  const health = (): Health => {
    if (trouble.write !== null) return { ok: false, reason: trouble.write };
    const warning = trouble.anchor ?? trouble.tidy;
    return warning === null ? { ok: true } : { ok: true, warning };
  };

  function tell(): void {
    const present = health();
    const sentence = (present.ok ? present.warning : present.reason) ?? null;
    if (sentence === told) return;
    told = sentence;
    options.healthChanged?.(present);
  }

  const recover = async (): Promise<Health> => {
    await flushing;
    if (trouble.write !== null && !closed) {
      flushing ??= flush();
      await flushing;
    }
    return health();
  };

  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await flushing;
    wantsCheckpoint = seal !== null;
    flushing ??= flush();
    await flushing;
    await tidying;
    if (state.kind === 'open') await state.segment.close();
  };

  flushing = flush();
  await flushing;
  begun = true;
  return { journal: { append, note, unfinished: () => open.list(), health, recover, close }, ...opening };
}

interface Open {
  readonly kind: 'open';
  readonly segment: Segment;
  readonly tip: Tip;
  /** Records of the journal's own that are still to be written, before anything else. */
  readonly front: readonly Draft[];
}

type State =
  | { readonly kind: 'unopened' }
  | Open
  | (Omit<Open, 'kind'> & { readonly kind: 'writing'; readonly taken: readonly Entry[]; readonly bytes: Buffer })
  | { readonly kind: 'lost'; readonly memory: Memory; readonly front: readonly Draft[] };

/** A record in the queue. Notes have nobody to tell. */
interface Entry {
  readonly record: JournalRecord;
  readonly wallMs: number;
  readonly draft: Draft;
  readonly bytes: number;
  readonly resolve: ((written: { seq: number }) => void) | null;
  readonly refuse: ((error: JournalUnavailable) => void) | null;
}

/** Sentences about what does not work now, each null while it does. */
interface Trouble {
  write: string | null;
  anchor: string | null;
  tidy: string | null;
}

const draftOf = (entry: Entry): Draft => entry.draft;

const bytesOf = (draft: Draft): number => draft.reduce((sum, member) => sum + Buffer.byteLength(member.text) + 1, 0);

async function troubleWith(work: Promise<void> | undefined, what: string): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    return `${what}: ${error instanceof Error ? error.message : String(error)}.`;
  }
}

/** A timer that does not keep the process alive. */
function afterUnreferenced(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms).unref();
  return () => clearTimeout(timer);
}

// The writer of the journal. Whoever asks for an effect appends and waits: the promise resolves when the record is on
// disk (I3, I4). Records that arrive while one write runs share the next one, in the order in which they came.
import { type Draft, draft, type Head, link } from './chain.ts';
import { type Memory, openAgain, openFirst, type Place } from './establish.ts';
import { type JournalFiles, realFiles } from './journal-files.ts';
import type { UnfinishedIntent } from './open-intents.ts';
import type { Break, Gap, JournalRecord, Torn } from './record.ts';
import type { Segment } from './segment.ts';
import { JournalUnavailable, reasonOf } from './unavailable.ts';

/** Records waiting for the disk; one more is refused (append) or lost and counted (note). */
export const MAX_QUEUED = 4096;
/** A longer record is refused: nothing the broker has to say comes near it. */
export const MAX_RECORD_BYTES = 64 * 1024;
/** One write takes at most this much; the rest waits for the next. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

export interface JournalOptions {
  /** The directory of audit.jsonl, which must exist. */
  readonly dir: string;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** /proc/sys/kernel/random/boot_id: which start of the machine the monotonic clock belongs to. */
  readonly bootId: string;
  readonly files?: JournalFiles;
  /** Called when the journal could be opened only after openJournal had returned, or came back after a failure. */
  readonly reopened?: (opening: Opening) => void;
}

/** What was found on opening. The findings are journalled already. */
export interface Opening {
  readonly unfinished: readonly UnfinishedIntent[];
  readonly findings: readonly (Torn | Break)[];
}

export type Health = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface Journal {
  /** Resolves with the record's number when it is on disk. Rejects with JournalUnavailable: then it is not in the journal. */
  append(record: JournalRecord): Promise<{ seq: number }>;
  /** For records nobody waits for: same order, same batches. Never throws; what is lost is counted in a `gap` record. */
  note(record: JournalRecord): void;
  /** As of the last write. Stays bad until a write succeeds: every append and `recover` tries. */
  health(): Health;
  /** Waits for what is queued, and tries to come back where the journal is down. */
  recover(): Promise<Health>;
  /** Writes what is queued and closes. Afterwards append rejects and note does nothing. */
  close(): Promise<void>;
}

/**
 * Opens `<dir>/audit.jsonl`, verifies it and goes on where it ended. Never rejects for the sake of the disk: a journal that
 * cannot be written has a bad `health`, refuses every append (I7), and tries again at each.
 */
export async function openJournal(options: JournalOptions): Promise<{ journal: Journal } & Opening> {
  const { dir, now, monotonicMs, bootId, files = realFiles } = options;
  let state: State = { kind: 'unopened' };
  let problem: string | null = null;
  let queue: Entry[] = [];
  let flushing: Promise<void> | null = null;
  let closed = false;
  let opening: Opening = { unfinished: [], findings: [] };
  let begun = false;
  const missing = { refused: 0, lost: 0 };

  const snapshot = (record: JournalRecord): Draft => {
    const snapshot = draft(record, { wallMs: now(), monoMs: monotonicMs(), boot: bootId });
    if (bytesOf(snapshot) > MAX_RECORD_BYTES) throw new JournalUnavailable('a record is too long for it');
    return snapshot;
  };
  const place: Place = { files, dir, path: `${dir}/audit.jsonl`, now, draft: snapshot };

  const enqueue = (entry: Entry) => {
    if (closed) throw new JournalUnavailable('it is closed');
    if (queue.length >= MAX_QUEUED) throw new JournalUnavailable('too many records wait for the disk');
    queue.push(entry);
    // The first write starts in this turn of the event loop's end, so that records of one turn share it.
    flushing ??= Promise.resolve().then(flush);
  };

  const append = (record: JournalRecord): Promise<{ seq: number }> =>
    new Promise((resolve, reject) => {
      const refuse = (error: unknown) => {
        missing.refused += 1;
        reject(error instanceof JournalUnavailable ? error : new JournalUnavailable(reasonOf(place.path, error)));
      };
      try {
        enqueue({ draft: snapshot(record), resolve, refuse });
      } catch (error) {
        refuse(error);
      }
    });

  const note = (record: JournalRecord): void => {
    try {
      enqueue({ draft: snapshot(record), resolve: null, refuse: null });
    } catch {
      missing.lost += 1;
    }
  };

  async function flush(): Promise<void> {
    let failure: unknown = null;
    try {
      do await writeBatch();
      while (queue.length > 0);
    } catch (error) {
      failure = error;
      await letGo();
    }
    // From here on without a wait in between: whoever queues next starts the next flush.
    flushing = null;
    problem = failure === null ? null : reasonOf(place.path, failure);
    if (problem !== null) refuseAll(new JournalUnavailable(problem));
  }

  async function writeBatch(): Promise<void> {
    const { segment, head, front } = await writable();
    const own = [...front, ...gapDrafts(missing, snapshot)];
    const { batch, lines, bytes, heads } = chain(own, queue, head);
    if (bytes.length === 0) return;
    // Taken off the queue before the wait: what arrives during it belongs to the next batch.
    queue = queue.slice(batch.length);
    state = { kind: 'writing', segment, head, front, batch, bytes };
    const counted = { ...missing };
    await segment.append(bytes, lines.at(-1) as string);
    missing.refused -= counted.refused;
    missing.lost -= counted.lost;
    state = { kind: 'open', segment, head: heads.at(-1) as Head, front: [] };
    problem = null;
    for (const [index, entry] of batch.entries()) entry.resolve?.({ seq: (heads[own.length + index] as Head).seq });
  }

  async function writable(): Promise<{ segment: Segment; head: Head; front: readonly Draft[] }> {
    if (state.kind === 'open') return state;
    const found = state.kind === 'lost' ? await openAgain(place, state.memory) : await openFirst(place);
    const { segment, head, unfinished, findings } = found;
    const carried = state.kind === 'lost' ? state.front : [];
    state = { kind: 'open', segment, head, front: [...carried, ...found.front] };
    if (begun) options.reopened?.({ unfinished, findings });
    else opening = { unfinished, findings };
    return state;
  }

  /** After a failure: closes the file, remembers where it ended, and puts what was being written back into the queue. */
  async function letGo(): Promise<void> {
    if (state.kind !== 'writing' && state.kind !== 'open') return;
    const { segment, head, front } = state;
    if (state.kind === 'writing') queue = [...state.batch, ...queue];
    const unacknowledged = state.kind === 'writing' ? state.bytes : Buffer.alloc(0);
    state = { kind: 'lost', memory: { ...segment.acknowledged(), head, unacknowledged }, front };
    await segment.close().catch(() => {});
  }

  /** Appends are refused and never written later; notes wait for the journal to come back. */
  function refuseAll(refusal: JournalUnavailable): void {
    const refused = queue.filter((entry) => entry.refuse !== null);
    queue = queue.filter((entry) => entry.refuse === null);
    for (const entry of refused) entry.refuse?.(refusal);
  }

  const settle = async (): Promise<void> => {
    await flushing;
    if (problem === null) return;
    flushing ??= flush();
    await flushing;
  };

  const recover = async (): Promise<Health> => {
    if (!closed) await settle();
    return health();
  };

  const health = (): Health => (problem === null ? { ok: true } : { ok: false, reason: problem });

  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await settle();
    if (state.kind === 'open') await state.segment.close();
  };

  flushing = flush();
  await flushing;
  begun = true;
  return { journal: { append, note, health, recover, close }, ...opening };
}

type State =
  | { readonly kind: 'unopened' }
  | { readonly kind: 'open'; readonly segment: Segment; readonly head: Head; readonly front: readonly Draft[] }
  | {
      readonly kind: 'writing';
      readonly segment: Segment;
      readonly head: Head;
      readonly front: readonly Draft[];
      readonly batch: readonly Entry[];
      readonly bytes: Buffer;
    }
  | { readonly kind: 'lost'; readonly memory: Memory; readonly front: readonly Draft[] };

/** A record in the queue. Notes have nobody to tell. */
interface Entry {
  readonly draft: Draft;
  readonly resolve: ((written: { seq: number }) => void) | null;
  readonly refuse: ((error: JournalUnavailable) => void) | null;
}

/** The lines of the journal's own records and of as much of the queue as fits into one write. */
function chain(own: readonly Draft[], queue: readonly Entry[], head: Head) {
  const heads: Head[] = [];
  const lines: string[] = [];
  let length = 0;
  let at = head;
  const add = (draft: Draft) => {
    const linked = link(draft, at);
    at = linked.head;
    heads.push(at);
    lines.push(linked.line);
    length += linked.line.length;
  };
  for (const draft of own) add(draft);
  const batch: Entry[] = [];
  for (const entry of queue) {
    if (length >= MAX_BATCH_BYTES) break;
    add(entry.draft);
    batch.push(entry);
  }
  return { batch, heads, lines: lines.map((line) => line.slice(0, -1)), bytes: Buffer.from(lines.join('')) };
}

const gapDrafts = (missing: Pick<Gap, 'refused' | 'lost'>, snapshot: (record: Gap) => Draft): Draft[] =>
  missing.refused + missing.lost > 0 ? [snapshot({ type: 'gap', ...missing })] : [];

const bytesOf = (draft: Draft): number => draft.reduce((sum, member) => sum + Buffer.byteLength(member.text) + 1, 0);

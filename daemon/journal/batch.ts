// What one write to the journal consists of. Pure: clocks and keys are handed in.
import { type Draft, type Head, link } from './chain.ts';
import { CHECKPOINT_EVERY, type SignedHead } from './checkpoint.ts';
import type { Checkpoint } from './record.ts';

/** One write takes at most about this much; the rest waits for the next. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** Where the journal stands. */
export interface Tip {
  readonly head: Head;
  /** Records since the last checkpoint. */
  readonly unsigned: number;
  /** The number and the time (wall clock, milliseconds) of the first record of the file. */
  readonly firstSeq: number;
  readonly sinceMs: number;
}

export interface BatchInput<Entry> {
  /** The journal's own records, which go first and all at once. */
  readonly own: readonly Draft[];
  readonly queue: readonly Entry[];
  readonly draftOf: (entry: Entry) => Draft;
  readonly tip: Tip;
  /** Null where the journal has no key: then there are no checkpoints. */
  readonly seal: Sealing | null;
  /** Whether a batch of so many bytes has to end in a checkpoint. */
  readonly endsSigned: (bytes: number) => boolean;
}

export interface Sealing {
  readonly signHead: (head: Head) => SignedHead;
  readonly draft: (record: Checkpoint) => Draft;
}

export interface Batch<Entry> {
  readonly bytes: Buffer;
  /** Without its newline; empty when there is nothing to write. */
  readonly lastLine: string;
  /** The entries it holds, with their numbers: always the first of the queue. */
  readonly entries: readonly { readonly entry: Entry; readonly seq: number }[];
  readonly tip: Tip;
  /** Its end, signed, when it holds a checkpoint. */
  readonly signed: SignedHead | null;
}

export function batchOf<Entry>(input: BatchInput<Entry>): Batch<Entry> {
  const { own, queue, seal, tip } = input;
  const lines: string[] = [];
  const entries: { entry: Entry; seq: number }[] = [];
  let { head, unsigned } = tip;
  let length = 0;
  let hasCheckpoint = false;

  const add = (draft: Draft) => {
    const linked = link(draft, head);
    head = linked.head;
    unsigned += 1;
    lines.push(linked.line);
    length += Buffer.byteLength(linked.line);
  };
  const checkpoint = (seal: Sealing) => {
    add(seal.draft({ type: 'checkpoint', ...seal.signHead(head) }));
    unsigned = 0;
    hasCheckpoint = true;
  };
  const next = (draft: Draft) => {
    if (seal !== null && unsigned >= CHECKPOINT_EVERY - 1) checkpoint(seal);
    add(draft);
  };

  for (const draft of own) next(draft);
  for (const entry of queue) {
    if (length >= MAX_BATCH_BYTES) break;
    next(input.draftOf(entry));
    entries.push({ entry, seq: head.seq });
  }
  if (seal !== null && unsigned > 0 && input.endsSigned(length)) checkpoint(seal);
  return {
    bytes: Buffer.from(lines.join('')),
    lastLine: lines.at(-1)?.slice(0, -1) ?? '',
    entries,
    tip: { ...tip, head, unsigned },
    signed: seal !== null && hasCheckpoint ? seal.signHead(head) : null,
  };
}

// What a journal file holds, read once from its beginning: how far it verifies, how it ends, which intents are open.
import { type Fault, GENESIS, type Head, type LineVerdict, verifyLine } from './chain.ts';
import type { JournalFile } from './journal-files.ts';
import { chunksOf, linesOf } from './lines.ts';
import { type OpenIntents, openIntents } from './open-intents.ts';

export interface Scan {
  /** After the last good record. */
  readonly head: Head;
  /** The bytes of all good records. */
  readonly size: number;
  /** The last good line, without its newline; null when there is none. */
  readonly lastLine: string | null;
  /** The first record's number and time (wall clock, milliseconds); null when there is none. */
  readonly first: { readonly seq: number; readonly wallMs: number } | null;
  readonly checkpoints: number;
  /** Records after the last checkpoint. */
  readonly unsigned: number;
  readonly open: OpenIntents;
  /** Bytes after the last newline, when all lines before it are good: a write that a crash cut short. */
  readonly tornBytes: number;
  /** The first line that does not verify, and how many lines there are from it on. */
  readonly broken: { readonly line: number; readonly fault: Fault | 'rewritten'; readonly lines: number } | null;
}

/** A file whose first record is one of these goes on from another file; any other must be record 1. */
export const OPENERS: ReadonlySet<string> = new Set(['segment', 'break']);

/**
 * Reads and verifies a journal file, also against the head that a checkpoint elsewhere vouches for. Rejects when it cannot
 * be read.
 */
export async function scan(file: Pick<JournalFile, 'read'>, anchor: Head | null): Promise<Scan> {
  const open = openIntents();
  let head = GENESIS;
  let size = 0;
  let lastLine: string | null = null;
  let first: Scan['first'] = null;
  let checkpoints = 0;
  let unsigned = 0;
  let tornBytes = 0;
  let broken: { line: number; fault: Fault | 'rewritten'; lines: number } | null = null;

  for await (const lines of linesOf(chunksOf(file))) {
    for (const line of lines) {
      if (broken !== null) {
        broken.lines += 1;
        continue;
      }
      if (!line.whole) {
        tornBytes = line.bytes;
        continue;
      }
      const verdict = verifyFirstOrNext(line.text, line.number === 1 ? null : head);
      if (!verdict.ok || (verdict.head.seq === anchor?.seq && verdict.head.hash !== anchor.hash)) {
        broken = { line: line.number, fault: verdict.ok ? 'rewritten' : verdict.fault, lines: 1 };
        continue;
      }
      const { record } = verdict;
      open.see(record);
      first ??= { seq: record.seq, wallMs: Date.parse(record.ts) };
      unsigned = record.type === 'checkpoint' ? 0 : unsigned + 1;
      checkpoints += record.type === 'checkpoint' ? 1 : 0;
      head = verdict.head;
      size = line.start + line.bytes + 1;
      lastLine = line.text;
    }
  }
  return { head, size, lastLine, first, checkpoints, unsigned, open, tornBytes, broken };
}

/** verifyLine, with the rule for how a file may begin: with record 1 or with a record that says what came before. */
export function verifyFirstOrNext(text: string | null, prev: Head | null): LineVerdict {
  if (text === null) return { ok: false, fault: 'unparseable', seq: null };
  if (prev !== null) return verifyLine(text, prev);
  const alone = verifyLine(text, null);
  return alone.ok && !OPENERS.has(alone.record.type) ? verifyLine(text, GENESIS) : alone;
}

// Lines out of a stream of bytes, in batches, at constant memory: the journal is read with this wherever it is read.
import { isUtf8 } from 'node:buffer';
import type { JournalFile } from './journal-files.ts';

/** A longer line is handed on without its text, which makes it unparseable for whoever reads it. */
export const MAX_LINE_BYTES = 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

export interface Line {
  /** Without the newline; null when it is longer than MAX_LINE_BYTES or no UTF-8. */
  readonly text: string | null;
  /** From 1. */
  readonly number: number;
  /** Where it starts, in bytes. */
  readonly start: number;
  /** Its length in bytes, without the newline. */
  readonly bytes: number;
  /** Whether a newline ends it; only the last line can lack one. */
  readonly whole: boolean;
}

/** The lines of a byte stream, one batch per chunk. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Line[]> {
  let pieces: Buffer[] = [];
  let pending = 0;
  let start = 0;
  let number = 0;

  const finish = (whole: boolean): Line => {
    number += 1;
    const line = { text: textOf(pieces, pending), number, start, bytes: pending, whole };
    start += pending + (whole ? 1 : 0);
    pieces = [];
    pending = 0;
    return line;
  };
  const hold = (piece: Buffer) => {
    // Beyond the limit only the length is kept, so that a file without a newline cannot fill the memory.
    if (pending <= MAX_LINE_BYTES) pieces.push(piece);
    pending += piece.length;
  };

  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const lines: Line[] = [];
    let from = 0;
    for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, from)) {
      hold(bytes.subarray(from, at));
      lines.push(finish(true));
      from = at + 1;
    }
    // Copied: the chunk's memory belongs to the reader, which may use it again.
    if (from < bytes.length) hold(Buffer.from(bytes.subarray(from)));
    yield lines;
  }
  if (pending > 0) yield [finish(false)];
}

/** The bytes of an open file from its beginning. Each chunk is only valid until the next is asked for. */
export async function* chunksOf(file: Pick<JournalFile, 'read'>, from = 0): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let position = from;
  for (;;) {
    const length = await file.read(buffer, position);
    if (length === 0) return;
    position += length;
    yield buffer.subarray(0, length);
  }
}

function textOf(pieces: readonly Buffer[], length: number): string | null {
  if (length > MAX_LINE_BYTES) return null;
  const bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  return isUtf8(bytes) ? bytes.toString('utf8') : null;
}

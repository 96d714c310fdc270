import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { chunksOf, type Line, linesOf, MAX_LINE_BYTES } from '../../daemon/journal/lines.ts';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

async function* stream(...pieces: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}
const batchesOf = async (chunks: AsyncIterable<Uint8Array>) => {
  const batches: (readonly Line[])[] = [];
  for await (const batch of linesOf(chunks)) batches.push(batch);
  return batches;
};
const read = async (...pieces: (string | Uint8Array)[]) =>
  (await batchesOf(stream(...pieces.map((piece) => Buffer.from(piece as string))))).flat();

describe('the lines of a stream', () => {
  it('have their text, number, place and length, in bytes', async () => {
    expect(await read('one\n', '\nzwölf\n')).toEqual([
      { text: 'one', number: 1, start: 0, bytes: 3, whole: true },
      { text: '', number: 2, start: 4, bytes: 0, whole: true },
      { text: 'zwölf', number: 3, start: 5, bytes: 6, whole: true },
    ]);
  });

  it('are the same wherever the stream is cut into pieces, in the middle of a character too', async () => {
    const bytes = Buffer.from('one\nzwölf\n\nlast');
    const whole = await read(bytes);
    expect(whole.at(-1)).toEqual({ text: 'last', number: 4, start: 12, bytes: 4, whole: false });
    for (let at = 0; at <= bytes.length; at += 1) {
      expect(await read(bytes.subarray(0, at), bytes.subarray(at))).toEqual(whole);
    }
    expect(await read(...Array.from(bytes, (byte) => Buffer.from([byte])))).toEqual(whole);
  });

  it('are none in nothing, and come in a batch for each piece', async () => {
    expect(await batchesOf(stream())).toEqual([]);
    const batches = await batchesOf(stream(Buffer.from('a\nb\nc'), Buffer.from('d'), Buffer.from('\ne')));
    expect(batches.map((batch) => batch.map(({ text }) => text))).toEqual([['a', 'b'], [], ['cd'], ['e']]);
  });

  it('are not changed by who uses the memory of a piece again for the next', async () => {
    const memory = Buffer.alloc(3);
    async function* reused(): AsyncGenerator<Uint8Array> {
      for (const text of ['abc', 'def', 'g\nh']) {
        memory.write(text);
        yield memory;
      }
    }
    expect((await batchesOf(reused())).flat().map(({ text }) => text)).toEqual(['abcdefg', 'h']);
  });

  it('are read from the part of a larger memory that a piece is', async () => {
    const memory = new Uint8Array(Buffer.from('xxone\nyy'));
    expect((await batchesOf(stream(memory.subarray(2, 6)))).flat().map(({ text }) => text)).toEqual(['one']);
  });

  it('lose their text where they are longer than the limit or no UTF-8, but not their length', async () => {
    const most = 'x'.repeat(MAX_LINE_BYTES);
    const found = await read(`${most}\n`, `${most}x\n`, Buffer.from([0x61, 0xff, 0x0a]), 'after\n');
    expect(found.map(({ text }) => text?.length ?? null)).toEqual([MAX_LINE_BYTES, null, null, 5]);
    expect(found.map(({ start }) => start)).toEqual([
      0,
      MAX_LINE_BYTES + 1,
      2 * MAX_LINE_BYTES + 3,
      2 * MAX_LINE_BYTES + 6,
    ]);
    expect(found.map(({ bytes }) => bytes)).toEqual([MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 2, 5]);
  });

  it('do not fill the memory, however long one is', async () => {
    const count = 200;
    let held = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let piece = 0; piece < count; piece += 1) yield memory;
      collectGarbage();
      held = process.memoryUsage().arrayBuffers;
    }
    const memory = Buffer.alloc(MAX_LINE_BYTES, 'x');
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    const [line] = (await batchesOf(endless())).flat();
    expect(line).toMatchObject({ text: null, bytes: count * MAX_LINE_BYTES, whole: false });
    expect(held - before).toBeLessThan((count / 2) * MAX_LINE_BYTES);
  });
});

describe('the bytes of an open file', () => {
  it('are read piece after piece to the end, from where one says', async () => {
    const bytes = Buffer.from('0123456789');
    const positions: number[] = [];
    const file = {
      read: async (into: Uint8Array, position: number) => {
        positions.push(position);
        return bytes.copy(into, 0, position, position + 4);
      },
    };
    const read = async (from?: number) => {
      let text = '';
      for await (const piece of chunksOf(file, from)) text += Buffer.from(piece).toString();
      return text;
    };
    expect(await read()).toBe('0123456789');
    expect(positions).toEqual([0, 4, 8, 10]);
    expect(await read(7)).toBe('789');
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lineCollector, MAX_EXPIRES_SECONDS, MAX_QUESTION_BYTES, readQuestion } from '../../daemon/dialog/incoming.ts';

const VIEW = {
  lines: ['Remove ai-work (red)', 'Asked by: mcp-control (black), default agent'],
  marks: [
    { line: 0, start: 7, end: 14, label: 'red' },
    { line: 1, start: 10, end: 21, label: 'black' },
  ],
  type_to_confirm: 'ai-work',
  risk: 'destroy',
};
const QUESTION = { v: 1, nonce: 'a'.repeat(64), digest: 'b'.repeat(64), expires_in: 60, view: VIEW };

const read = (value: unknown) => readQuestion(Buffer.from(JSON.stringify(value)));
const withView = (changes: object) => read({ ...QUESTION, view: { ...VIEW, ...changes } });

describe('a question', () => {
  test('is read as it was sent', () => {
    expect(read(QUESTION)).toEqual({ asked: QUESTION });
    expect(withView({ freeze: 'mcp-control' })).toEqual({
      asked: { ...QUESTION, view: { ...VIEW, freeze: 'mcp-control' } },
    });
  });

  test('may leave out what only decorates, and hold members of a later version', () => {
    const { lines, type_to_confirm } = VIEW;
    expect(read({ ...QUESTION, later: 1, view: { lines, type_to_confirm, later: 2 } })).toEqual({
      asked: { ...QUESTION, view: { lines, type_to_confirm, marks: [], risk: 'destroy' } },
    });
  });

  test.each([
    ['of another version', { ...QUESTION, v: 2 }],
    ['without a nonce', { ...QUESTION, nonce: undefined }],
    ['with a short nonce', { ...QUESTION, nonce: 'a'.repeat(15) }],
    ['with a nonce of control characters', { ...QUESTION, nonce: '\n'.repeat(32) }],
    ['without a digest', { ...QUESTION, digest: undefined }],
    ['that is over', { ...QUESTION, expires_in: 0 }],
    ['that waits for ever', { ...QUESTION, expires_in: MAX_EXPIRES_SECONDS + 1 }],
    ['without a view', { ...QUESTION, view: undefined }],
    ['without lines', { ...QUESTION, view: { ...VIEW, lines: [] } }],
    ['with a line that is no string', { ...QUESTION, view: { ...VIEW, lines: ['Remove ai-work (red)', 1] } }],
    ['that does not say whether to type', { ...QUESTION, view: { ...VIEW, type_to_confirm: undefined } }],
    ['that asks for a typed sentence', { ...QUESTION, view: { ...VIEW, type_to_confirm: 'Remove ai-work (red)' } }],
    ['that asks for a name it does not show', { ...QUESTION, view: { ...VIEW, type_to_confirm: 'ai-other' } }],
    ['that would freeze a sentence', { ...QUESTION, view: { ...VIEW, freeze: 'mcp control' } }],
    ['that is a list', [QUESTION]],
    ['that is null', null],
  ])('%s is refused', (_, value) => {
    expect(read(value)).toEqual({ refused: expect.any(String) });
  });

  test('expires within a limit that holds on both sides', () => {
    expect(read({ ...QUESTION, expires_in: MAX_EXPIRES_SECONDS })).toHaveProperty('asked');
    expect(read({ ...QUESTION, expires_in: 0.5 })).toHaveProperty('asked');
  });

  test.each([
    ['beyond the text', { line: 0, start: 15, end: 30, label: 'red' }],
    ['on a line that does not exist', { line: 2, start: 0, end: 3, label: 'red' }],
    ['of no letters', { line: 0, start: 7, end: 7, label: 'red' }],
    ['backwards', { line: 0, start: 14, end: 7, label: 'red' }],
    ['on words', { line: 0, start: 0, end: 14, label: 'red' }],
    ['of no label', { line: 0, start: 7, end: 14, label: 'pink' }],
    ['at a fraction', { line: 0, start: 7.5, end: 14, label: 'red' }],
  ])('with a mark %s is refused', (_, mark) => {
    expect(withView({ marks: [mark] })).toEqual({ refused: expect.any(String) });
  });

  test('with marks that overlap is refused, with marks that meet it is not', () => {
    const marks = (...ranges: [number, number][]) =>
      withView({ marks: ranges.map(([start, end]) => ({ line: 0, start, end, label: 'red' })) });
    expect(marks([7, 14], [7, 12])).toHaveProperty('refused');
    expect(marks([7, 14], [13, 14])).toHaveProperty('refused');
    expect(marks([13, 14], [7, 13])).toHaveProperty('asked');
  });

  test.each([
    ['invalid UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
    ['a byte order mark', Buffer.from(`\ufeff${JSON.stringify(QUESTION)}`)],
    ['half a question', Buffer.from('{"v":1')],
    ['nothing', Buffer.alloc(0)],
  ])('that is %s is refused', (_, bytes) => {
    expect(readQuestion(bytes)).toEqual({ refused: expect.any(String) });
  });

  test('from random JSON or bytes never throws and never passes', () => {
    fc.assert(fc.property(fc.json(), (text) => 'refused' in readQuestion(Buffer.from(text))));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => 'refused' in readQuestion(bytes)));
  });
});

describe('the line on the connection', () => {
  const collected = (...chunks: (string | Buffer)[]) => {
    const collect = lineCollector();
    return chunks.map((chunk) => {
      const got = collect(Buffer.from(chunk));
      return typeof got === 'string' ? got : Buffer.from(got.line).toString();
    });
  };

  test('may come in any pieces', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[^\n]*$/), { maxLength: 6 }), (pieces) => {
        const got = collected(...pieces, '\n');
        expect(got.at(-1)).toBe(Buffer.from(pieces.join('')).toString());
        expect(got.slice(0, -1).every((one) => one === 'more')).toBe(true);
      }),
    );
  });

  test('ends the question: what follows it is too much', () => {
    expect(collected('a\nb')).toEqual(['too much']);
    expect(collected('a\n\n')).toEqual(['too much']);
  });

  test('has a limit that holds on both sides', () => {
    const full = 'x'.repeat(MAX_QUESTION_BYTES);
    expect(collected(full, '\n')).toEqual(['more', full]);
    expect(collected(`${full}x`)).toEqual(['too much']);
    expect(collected(`${full}x\n`)).toEqual(['too much']);
  });
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lineOf, rowsOf } from '../../daemon/dialog/rows.ts';

const red = { label: 'red' } as const;

test('a headline, a fact and a sentence are told apart, and marks move with their text', () => {
  const lines = ['Kill: ai-work (red)', 'Asked by: ai-work (red)', 'It stays.'];
  const marks = [
    { line: 0, start: 6, end: 13, ...red },
    { line: 1, start: 10, end: 17, ...red },
  ];
  expect(rowsOf({ lines, marks })).toEqual([
    { kind: 'headline', pieces: [{ text: 'Kill: ai-work (red)', spans: [{ start: 6, end: 13, ...red }] }] },
    {
      kind: 'fact',
      pieces: [
        { text: 'Asked by:', spans: [] },
        { text: 'ai-work (red)', spans: [{ start: 0, end: 7, ...red }] },
      ],
    },
    { kind: 'sentence', pieces: [{ text: 'It stays.', spans: [] }] },
  ]);
});

test('a name marked before the colon keeps the line whole', () => {
  const row = rowsOf({ lines: ['Head', 'Personal: gone'], marks: [{ line: 1, start: 0, end: 8, ...red }] })[1];
  expect(row).toEqual({
    kind: 'sentence',
    pieces: [{ text: 'Personal: gone', spans: [{ start: 0, end: 8, ...red }] }],
  });
});

test('the pieces of every row are its line again', () => {
  const line = fc.oneof(
    fc.stringMatching(/^[A-Z][a-z ]{0,26}: .{0,30}$/),
    fc.stringMatching(/^[ -~]{1,40}$/),
    fc.constant('A: b: c'),
  );
  fc.assert(
    fc.property(fc.array(line, { minLength: 1 }), (lines) => {
      const back = rowsOf({ lines, marks: [] }).map(({ pieces }) => lineOf(pieces.map(({ text }) => text)));
      expect(back).toEqual(lines);
    }),
  );
});

test('marks lie on the same letters in the pieces as in the line', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Z][a-z ]{0,20}: $/), fc.stringMatching(/^[a-z]{1,9}$/), (before, name) => {
      const lines = ['Head', `${before}${name} and more`];
      const marks = [{ line: 1, start: before.length, end: before.length + name.length, ...red }];
      const marked = rowsOf({ lines, marks }).flatMap(({ pieces }) =>
        pieces.flatMap(({ text, spans }) => spans.map(({ start, end }) => text.slice(start, end))),
      );
      expect(marked).toEqual([name]);
    }),
  );
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_HEADLINE_LENGTH, MAX_LINE_LENGTH, MAX_LINES, reasonNotToShow } from '../../daemon/dialog/displayable.ts';

test('our own wording may be shown', () => {
  const lines = [
    'Remove ai-work (red)',
    'Label: blue \u2192 orange',
    'It\u2019s 3 \u00d7 2 \u2013 gone\u2026',
    '<b>&amp;_x',
  ];
  expect(reasonNotToShow(lines)).toBeNull();
});

test.each([
  ['a newline', 'a\nb'],
  ['a NUL', 'a\0b'],
  ['a tab', 'a\tb'],
  ['a right-to-left override', 'a\u202eb'],
  ['an isolate', 'a\u2066b'],
  ['a zero-width space', 'a\u200bb'],
  ['a zero-width joiner', 'a\u200db'],
  ['a soft hyphen', 'a\u00adb'],
  ['a byte order mark', 'a\ufeffb'],
  ['a line separator', 'a\u2028b'],
  ['a paragraph separator', 'a\u2029b'],
  ['a no-break space', 'a\u00a0b'],
  ['a Cyrillic a', '\u0430i-work'],
  ['a combining mark', 'a\u0301'],
  ['a tag character', 'a\u{e0041}'],
  ['an unpaired surrogate', 'a\ud800'],
  ['a delete', 'a\x7f'],
  ['an emoji', '\u{1f600}'],
])('%s is refused, in a headline and below it', (_, text) => {
  expect(reasonNotToShow([text])).toContain('Line 1');
  expect(reasonNotToShow(['Fine', text])).toContain('Line 2');
});

test('nothing outside the allowed characters is ever shown', () => {
  const unprintable = /[\p{C}\p{Z}\p{M}]/u;
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
      (text) => !unprintable.test(text.replaceAll(' ', '')) || reasonNotToShow([text]) !== null,
    ),
    { numRuns: 1000 },
  );
});

test.each([' a', 'a ', 'a  b', ''])('padding is refused: %j', (text) => {
  expect(reasonNotToShow(['Fine', text])).not.toBeNull();
});

test('every limit holds on both sides', () => {
  expect(reasonNotToShow([])).not.toBeNull();
  expect(reasonNotToShow(['x'.repeat(MAX_HEADLINE_LENGTH)])).toBeNull();
  expect(reasonNotToShow(['x'.repeat(MAX_HEADLINE_LENGTH + 1)])).not.toBeNull();
  expect(reasonNotToShow(['x', 'x'.repeat(MAX_LINE_LENGTH)])).toBeNull();
  expect(reasonNotToShow(['x', 'x'.repeat(MAX_LINE_LENGTH + 1)])).not.toBeNull();
  expect(reasonNotToShow(Array(MAX_LINES).fill('x'))).toBeNull();
  expect(reasonNotToShow(Array(MAX_LINES + 1).fill('x'))).not.toBeNull();
});

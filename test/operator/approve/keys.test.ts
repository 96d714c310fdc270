import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keyOf, MAX_TYPED, typedWith } from '../../../daemon/operator/approve/keys.ts';

const key = (bytes: string) => keyOf(Buffer.from(bytes, 'latin1'));

test.each([
  ['\r', 'enter'],
  ['\n', 'enter'],
  ['\x1b', 'escape'],
  ['\x03', 'leave'],
  ['\x04', 'leave'],
  ['\x1a', 'leave'],
  ['\x1c', 'leave'],
  ['abc\x03', 'leave'],
  ['\x7f', 'rub'],
  ['\b', 'rub'],
  ['\x1b[A', 'together'],
  ['ab', 'together'],
  ['a\r', 'together'],
  ['', 'nothing'],
  ['\x00', 'nothing'],
  ['\t', 'nothing'],
  ['\xe4', 'nothing'],
] as const)('%j is %s', (bytes, kind) => {
  expect(key(bytes)).toEqual({ kind });
});

test('every other single byte is a letter, and nothing else ever is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 6 }), (bytes) => {
      const pressed = keyOf(bytes);
      const isLetter = bytes.length === 1 && (bytes[0] as number) >= 0x20 && (bytes[0] as number) <= 0x7e;
      expect(pressed.kind === 'letter').toBe(isLetter);
      if (pressed.kind === 'letter') expect(pressed.letter.charCodeAt(0)).toBe(bytes[0]);
    }),
  );
});

test('letters are put behind each other, rubbed out one by one, and gone after what came at once', () => {
  expect(['a', 'b', '\x7f', 'c'].map(key).reduce(typedWith, '')).toBe('ac');
  expect(typedWith('', key('\x7f'))).toBe('');
  expect(typedWith('abc', key('xy'))).toBe('');
  expect(typedWith('abc', key('\t'))).toBe('abc');
});

test('more than anything that can be right is not kept, and does not become right by it', () => {
  const full = 'x'.repeat(MAX_TYPED);
  expect(typedWith(full.slice(1), key('x'))).toBe(full);
  expect(typedWith(full, key('y'))).toBe(full);
  expect(MAX_TYPED).toBeGreaterThan('freeze '.length + 31);
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isPattern, matches, patternsOf } from '../../daemon/principals/patterns.ts';

test.each(['ai-web', 'ai-web-*', 'a*', 'A.b_c-d', `${'a'.repeat(31)}*`])('%s is a pattern', (text) => {
  expect(isPattern(text)).toBe(true);
});

test.each(['', '*', 'ai-*-web', '*web', 'ai-**', '1ai*', 'ai web', 'ai-\n', `${'a'.repeat(32)}*`, 'ai?'])(
  '%j is none',
  (text) => {
    expect(isPattern(text)).toBe(false);
  },
);

test('a pattern with * matches the names that begin so, its own beginning included; one without matches itself', () => {
  const patterns = patternsOf(['ai-web-*', 'vault']);
  for (const name of ['ai-web-', 'ai-web-1', 'vault']) expect(matches(patterns, name)).toBe(true);
  for (const name of ['ai-web', 'Ai-web-1', 'xai-web-1', 'vault2', 'vaul', ''])
    expect(matches(patterns, name)).toBe(false);
});

test('patterns match what the same patterns match as regular expressions', () => {
  const text = fc.stringMatching(/^[ab-]{1,4}$/).map((rest) => `a${rest}`);
  const pattern = fc.tuple(text, fc.constantFrom('', '*')).map((parts) => parts.join(''));
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 4 }), text, (list, name) => {
      const expected = list.some((each) => new RegExp(`^${each.replace('*', '.*')}$`).test(name));
      expect(matches(patternsOf(list), name)).toBe(expected);
    }),
  );
});

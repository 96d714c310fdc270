import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dumpPython, MAX_DEPTH, MAX_DIGITS, parsePython } from '../../daemon/journal/python-json.ts';

const data = (name: string) =>
  readFileSync(new URL(`earlier/${name}`, import.meta.url), 'utf8')
    .split('\n')
    .slice(0, -1);
const rewritten = (text: string) => {
  const value = parsePython(text);
  return value === null ? null : dumpPython(value);
};

describe('JSON as Python has it', () => {
  it('writes every number as Python does', () => {
    for (const line of data('numbers.jsonl')) {
      const [text, written] = JSON.parse(line);
      expect([text, rewritten(text)]).toEqual([text, written]);
    }
  });

  it('writes what Python wrote as it was', () => {
    for (const line of data('sample.jsonl')) expect(rewritten(line)).toBe(line);
  });

  it.each([
    ['{"b":1, "a":2}', '{"a":2,"b":1}'],
    [' [ 1 , 2 ]\r\n', '[1,2]'],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['"\u00e9\u007f"', '"\\u00e9\\u007f"'],
    ['"\\/\\u0041"', '"/A"'],
    ['"\\ud83d\\ude00"', '"\\ud83d\\ude00"'],
    ['{"__proto__":1}', '{"__proto__":1}'],
  ])('reads %j and writes %j', (text, written) => {
    expect(rewritten(text)).toBe(written);
  });

  it.each([
    '',
    '{',
    '[1,]',
    '{"a":1,}',
    '01',
    '1.',
    '.5',
    '+1',
    '--1',
    "'a'",
    '"\u0001"',
    '"\\x"',
    '"\\u12"',
    'nul',
    '[1 2]',
    '{a:1}',
    '1 2',
    '\ufeff1',
  ])('does not read %j', (text) => {
    expect(parsePython(text)).toBeNull();
  });

  it('reads nesting and integers up to its limits and no further', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect(rewritten(nested(MAX_DEPTH))).toBe(nested(MAX_DEPTH));
    expect(parsePython(nested(MAX_DEPTH + 2))).toBeNull();
    expect(rewritten(`-${'1'.repeat(MAX_DIGITS)}`)).not.toBeNull();
    expect(parsePython('1'.repeat(MAX_DIGITS + 1))).toBeNull();
  });

  it('reads a long string of escapes without running out of stack', () => {
    expect(rewritten(`"${'\\u00e9'.repeat(150_000)}"`)).toHaveLength(900_002);
  });

  it('agrees with JavaScript wherever both mean the same', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        const text = JSON.stringify(value);
        const read = rewritten(text);
        expect(JSON.parse((read as string).replace(/NaN|-?Infinity/g, '0'))).toEqual(JSON.parse(text));
      }),
    );
  });
});

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
    ['\t{ "b" : [ ] , "a" : { } }\n', '{"a":{},"b":[]}'],
    ['{"a":[1,"x",null,{"c":[true,false]}]}', '{"a":[1,"x",null,{"c":[true,false]}]}'],
    ['[NaN,Infinity,-Infinity,1e999,-1e999]', '[NaN,Infinity,-Infinity,Infinity,-Infinity]'],
    ['[-0,-0.0,-0e1,0,0.0,10,-10]', '[0,-0.0,-0.0,0,0.0,10,-10]'],
    ['"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000"', '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000"'],
    ['"~\u0080\ud800"', '"~\\u0080\\ud800"'],
    // By code point, and a name before those that begin with it; JavaScript would sort the surrogates first.
    ['{"\ud83d\ude00":1,"\ufb33":2}', '{"\\ufb33":2,"\\ud83d\\ude00":1}'],
    ['{"\uffffb":1,"\uffffa":2}', '{"\\uffffa":2,"\\uffffb":1}'],
    ['{"ab":1,"a":2,"b":3,"":4}', '{"":4,"a":2,"ab":1,"b":3}'],
    [
      '{"\ud83d\ude00b":1,"\ud83d\ude00a":2,"\ud83d\ude00":3}',
      '{"\\ud83d\\ude00":3,"\\ud83d\\ude00a":2,"\\ud83d\\ude00b":1}',
    ],
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
    '[',
    '[1',
    '[,1]',
    '{"a"}',
    '{"a":}',
    '{"a":1',
    '{"a":1;"b":2}',
    '{"a":1 "b":2}',
    '{1:2}',
    '}',
    ']',
    '"a',
    '"\\',
    '"\\u00g0"',
    '-',
    '1e',
    '1e+',
    '-NaN',
    '+Infinity',
    'x1',
    '"a"x',
  ])('does not read %j', (text) => {
    expect(parsePython(text)).toBeNull();
  });

  it('reads nesting and integers up to its limits and no further', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    // The innermost has nothing in it, and nothing is not nested.
    expect(rewritten(nested(MAX_DEPTH + 1))).toBe(nested(MAX_DEPTH + 1));
    expect(parsePython(nested(MAX_DEPTH + 2))).toBeNull();
    const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
    expect(rewritten(objects(MAX_DEPTH))).toBe(objects(MAX_DEPTH));
    expect(parsePython(objects(MAX_DEPTH + 1))).toBeNull();
    for (const sign of ['', '-']) {
      expect(rewritten(`${sign}${'1'.repeat(MAX_DIGITS)}`)).toBe(`${sign}${'1'.repeat(MAX_DIGITS)}`);
      expect(parsePython(`${sign}${'1'.repeat(MAX_DIGITS + 1)}`)).toBeNull();
    }
    expect(rewritten(`0.${'1'.repeat(MAX_DIGITS)}`)).toBe('0.1111111111111111');
  });

  it('is written without one member of the outermost object alone', () => {
    const value = parsePython('{"b":{"hash":1},"hash":2,"a":[{"hash":3}]}') ?? expect.fail();
    expect(dumpPython(value, 'hash')).toBe('{"a":[{"hash":3}],"b":{"hash":1}}');
    expect(dumpPython(value)).toBe('{"a":[{"hash":3}],"b":{"hash":1},"hash":2}');
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

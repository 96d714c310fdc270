import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonical, isCanonical, MAX_DEPTH } from '../../daemon/journal/canonical.ts';

describe('canonical JSON', () => {
  it('gives the text of the RFC for its sample (RFC 8785, 3.2.2 to 3.2.4)', () => {
    const sample = JSON.parse(`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\"\\/",
      "literals": [null, true, false]
    }`);
    expect(canonical(sample)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  it('sorts keys by UTF-16 code units, as in the sample of the RFC (3.2.3)', () => {
    const sample = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    };
    expect(
      Object.values(JSON.parse(canonical(Object.entries(sample).map(([key, value]) => ({ [key]: value }))))),
    ).toHaveLength(7);
    const order = [...canonical(sample).matchAll(/":"([^"]*)"/g)].map((match) => match[1]);
    expect(order).toEqual([
      'Carriage Return',
      'One',
      'Control',
      'Latin Small Letter O With Diaeresis',
      'Euro Sign',
      'Emoji: Grinning Face',
      'Hebrew Letter Dalet With Dagesh',
    ]);
  });

  it.each([
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['41b3de4355555557', '333333333.33333343'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
  ])('writes the number with the bits %s as %s (RFC 8785, appendix B)', (bits, text) => {
    expect(canonical(Buffer.from(bits, 'hex').readDoubleBE())).toBe(text);
  });

  it.each([
    ['undefined', undefined],
    ['a bigint', 1n],
    ['NaN', Number.NaN],
    ['infinity', Number.POSITIVE_INFINITY],
    ['a function', () => 0],
    ['a date', new Date(0)],
    ['a lone surrogate', 'a\ud800'],
    ['a lone surrogate in a key', { '\udc00': 1 }],
    ['undefined as a member', { a: undefined }],
    ['a hole in an array', new Array(1)],
  ])('refuses %s', (_name, value) => {
    expect(() => canonical(value)).toThrow(TypeError);
  });

  it('takes an object without a prototype, as parsers make them, for a plain one', () => {
    expect(canonical(Object.assign(Object.create(null), { b: 1, a: [Object.create(null)] }))).toBe('{"a":[{}],"b":1}');
  });

  it('says of what it refuses what it is', () => {
    expect(() => canonical([{ a: undefined }])).toThrow('a record holds a undefined, which JSON cannot carry');
    expect(() => canonical(1n)).toThrow('a record holds a bigint, which JSON cannot carry');
  });

  it('takes objects nested to the limit and refuses one level more', () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : { a: nested(levels - 1) });
    expect(() => canonical(nested(MAX_DEPTH))).not.toThrow();
    expect(() => canonical(nested(MAX_DEPTH + 1))).toThrow(TypeError);
  });

  it('means the same value, and is one text for one value in whatever order its keys were written', () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([key, inner]) => [key, shuffled(inner)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false } as never), (value) => {
        const wellFormed = JSON.parse(JSON.stringify(value));
        fc.pre(!/\\ud[89a-f]/i.test(JSON.stringify(value)));
        const text = canonical(wellFormed);
        expect(JSON.parse(text)).toEqual(wellFormed);
        expect(canonical(JSON.parse(text))).toBe(text);
        expect(canonical(shuffled(wellFormed))).toBe(text);
      }),
    );
  });

  const sameByComparison = (text: string): boolean => {
    try {
      return canonical(JSON.parse(text)) === text;
    } catch {
      return false;
    }
  };
  const taken = (text: string): boolean => {
    try {
      return isCanonical(text, JSON.parse(text));
    } catch {
      return false;
    }
  };

  it.each([
    ['{"a":1,"b":[{"c":null,"d":"\\n"}]}', true],
    ['{"b":1,"a":1}', false],
    ['[1,{"b":1,"a":1}]', false],
    ['[[1],{"a":1,"b":1}]', true],
    ['{"a":[{"d":1,"c":2}]}', false],
    ['{"a":1,"a":1}', false],
    ['{"10":1,"9":2}', true],
    ['{"9":2,"10":1}', false],
    ['{"a": 1}', false],
    ['{"a":1.0}', false],
    ['-0', false],
    ['1e999', false],
    ['"\\u0041"', false],
    ['"\\ud800"', false],
    ['"\\\\ud800"', true],
    ['{"\\udfff":1}', false],
    ['{"__proto__":1,"toJSON":2}', true],
    [`${'{"a":'.repeat(MAX_DEPTH)}1${'}'.repeat(MAX_DEPTH)}`, true],
    [`${'{"a":'.repeat(MAX_DEPTH + 1)}1${'}'.repeat(MAX_DEPTH + 1)}`, false],
    [`${'['.repeat(MAX_DEPTH)}${']'.repeat(MAX_DEPTH)}`, true],
    [`${'['.repeat(MAX_DEPTH + 1)}${']'.repeat(MAX_DEPTH + 1)}`, false],
  ])('of the text %s: %s', (text, wanted) => {
    expect(sameByComparison(text)).toBe(wanted);
    expect(taken(text)).toBe(wanted);
  });

  it('is recognised as by writing the value anew, whatever the text is', () => {
    const texts = fc
      .tuple(
        fc.oneof(
          fc.jsonValue(),
          fc.json().map((text) => JSON.parse(text)),
        ),
        fc.nat(),
        fc.constantFrom('', ' ', '"', '\\', '\\ud8', '0', ',', '{'),
      )
      .map(([value, at, put]) => {
        const text = JSON.stringify(value);
        return text.slice(0, at % (text.length + 1)) + put + text.slice(at % (text.length + 1));
      });
    fc.assert(
      fc.property(texts, (text) => taken(text) === sameByComparison(text)),
      { numRuns: 2000 },
    );
  });
});

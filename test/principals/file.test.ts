import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  isPrincipalName,
  keyObject,
  nameOfFile,
  type Principal,
  parsePrincipal,
} from '../../daemon/principals/file.ts';
import { isOpen } from '../../daemon/principals/hours.ts';
import { matches } from '../../daemon/principals/patterns.ts';
import { enrolled, KEY, publicKey, unsignedFile } from './signing.ts';

const good = (text: string): Principal => {
  const found = parsePrincipal('web', text);
  if ('sentence' in found) throw new Error(found.sentence);
  return found;
};
const wrong = (changes: Record<string, unknown>): string => {
  const found = parsePrincipal('web', enrolled(changes));
  return 'sentence' in found ? found.sentence : 'nothing is wrong';
};

test('names are short, of few characters, and what a file is called', () => {
  for (const name of ['a', 'web', 'web-2', 'a'.repeat(31)]) {
    expect(isPrincipalName(name)).toBe(true);
    expect(nameOfFile(`${name}.json`)).toBe(name);
  }
  for (const name of ['', '-a', '2a', 'Web', 'we_b', 'we.b', 'wéb', 'a'.repeat(32), 'web\n', 'operator', 'unknown']) {
    expect(isPrincipalName(name)).toBe(false);
    expect(nameOfFile(`${name}.json`)).toBeNull();
  }
  for (const other of [7, null, undefined, ['web']]) expect(isPrincipalName(other)).toBe(false);
  for (const file of ['web', 'web.json~', 'web.jsonx', 'web.json.bak', '.json']) expect(nameOfFile(file)).toBeNull();
});

test('a file with what must be there limits nothing but what it says', () => {
  expect(good(enrolled({ ceiling: 'exec' }))).toEqual({
    name: 'web',
    sources: new Set(['mcp-control']),
    key: publicKey(KEY),
    limits: {
      ceiling: 'exec',
      names: null,
      ownedOnly: false,
      risks: new Set(['read', 'change', 'destroy']),
      calls: null,
      questions: null,
      qubes: null,
      bytes: null,
      week: null,
    },
  });
  expect(good(unsignedFile())).toMatchObject({ sources: null, key: null });
});

test("the README's example is read as it says", () => {
  const readme = readFileSync(new URL('../../daemon/principals/README.md', import.meta.url), 'utf8');
  const { limits, key } = good(/```json\n([\s\S]*?)```/.exec(readme)?.[1] ?? '');
  expect(key).toBe(publicKey(KEY));
  expect(limits).toMatchObject({
    ceiling: 'net',
    ownedOnly: true,
    calls: 600,
    questions: 12,
    qubes: 4,
    bytes: 20 * 2 ** 30,
  });
  expect(limits.risks).toEqual(new Set(['read', 'change']));
  expect(limits.names && matches(limits.names, 'ai-web-7')).toBe(true);
  expect(limits.week && isOpen(limits.week, Date.parse('2026-11-16T07:00:00Z'))).toBe(true);
});

describe('a file is no principal when', () => {
  test.each([
    ['it has a field that is not known', { colour: 'red' }, "Unknown field 'colour'."],
    [
      'it has fields that are not known',
      { colour: 1, ['x'.repeat(50)]: 1 },
      `Unknown field 'colour', '${'x'.repeat(40)}'.`,
    ],
    ['it has both a key and unsigned', { unsigned: true }, 'It must have either a key, or unsigned: true.'],
    ['it has neither', { key: undefined }, 'It must have either a key, or unsigned: true.'],
    ['unsigned is anything but true', { key: undefined, unsigned: false }, 'unsigned: '],
    ['the key is too short', { key: 'AAAA' }, 'key: it is not 32 bytes in base64.'],
    ['the key is too long', { key: `AAAA${publicKey(KEY)}` }, 'key: it is not 32 bytes in base64.'],
    ['the key has a line end', { key: `${publicKey(KEY)}\n` }, 'key: it is not 32 bytes in base64.'],
    ['the key has spare bits', { key: `${publicKey(KEY).slice(0, 42)}h=` }, 'key: it is not 32 bytes in base64.'],
    ['the key is base64url', { key: publicKey(KEY).replace('/', '_') }, 'key: it is not 32 bytes in base64.'],
    ['there is no source', { sources: [] }, 'sources: Too small'],
    ['sources are missing', { sources: undefined }, 'sources'],
    ['a source is no name', { sources: ['mcp-control', 'a b'] }, 'sources: write the names'],
    ['a source is dom0 by keyword', { sources: ['@adminvm'] }, 'sources'],
    ['a key may come from any source', { sources: 'any' }, 'sources: a principal with a key names the qubes'],
    ['there are too many sources', { sources: Array.from({ length: 65 }, (_, index) => `a${index}`) }, 'sources'],
    ['the ceiling is missing', { ceiling: undefined }, 'ceiling: '],
    ['the ceiling is no tier', { ceiling: 'none' }, 'ceiling: Invalid option: expected one of "ro"'],
    ['there is a list of no names', { names: [] }, 'names: '],
    ['a pattern is none', { names: ['*'] }, 'names.0: it is not a name, nor the beginning'],
    ['there are too many patterns', { names: Array(257).fill('a*') }, 'names: '],
    ['owned_only is a word', { owned_only: 'yes' }, 'owned_only: '],
    ['a risk is not known', { risks: ['reading'] }, 'risks.0: '],
    ['a quota is negative', { per_hour: { calls: -1 } }, 'per_hour.calls: '],
    ['a quota is a fraction', { per_hour: { questions: 1.5 } }, 'per_hour.questions: '],
    ['a quota is a text', { total: { bytes: '20' } }, 'total.bytes: '],
    ['a quota is too large to count', { total: { qubes: 2 ** 53 } }, 'total.qubes: '],
    ['a quota is of something else', { per_hour: { reads: 1 } }, "per_hour: unknown field 'reads'."],
    ['the zone is unknown', { changes: { zone: 'Berlin', hours: [] } }, 'changes: write an IANA time zone'],
    ['hours are unknown', { changes: { zone: 'UTC', hours: ['always'] } }, 'changes: write an IANA time zone'],
    ['there are hours without a zone', { changes: { hours: [] } }, 'changes.zone: '],
  ])('%s', (_, changes, sentence) => {
    expect(wrong(changes as Record<string, unknown>)).toContain(sentence);
  });

  test.each(['', 'null', '[]', '"web"', '{', '{}x', '\u{feff}{}'])('it is %j', (text) => {
    expect(parsePrincipal('web', text)).toMatchObject({ sentence: 'It is not one JSON object.' });
  });

  test('it is anything else, and the sentence shows nothing of a file that could draw on a terminal', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const found = parsePrincipal('web', text);
        expect('sentence' in found && /^[\x20-\x7e]+$/.test(found.sentence)).toBe(true);
      }),
    );
    expect(wrong({ '\u001b[31m': 1 })).toBe("Unknown field '?[31m'.");
  });
});

test('limits are taken at their borders', () => {
  const { limits } = good(
    enrolled({ per_hour: { calls: 0, questions: 0 }, total: { qubes: 0, bytes: Number.MAX_SAFE_INTEGER }, risks: [] }),
  );
  expect(limits).toMatchObject({ calls: 0, questions: 0, qubes: 0, bytes: Number.MAX_SAFE_INTEGER, risks: new Set() });
  expect(good(enrolled({ risks: ['destroy'] })).limits.risks).toEqual(new Set(['destroy']));
  const sources = Array.from({ length: 64 }, (_, index) => `a${index}`);
  expect(good(enrolled({ sources })).sources?.size).toBe(64);
  expect(good(enrolled({ names: Array(256).fill('a*') })).limits.names?.beginnings).toHaveLength(256);
});

test('a file that is wrong might have been about unsigned calls, unless it has a key and not unsigned', () => {
  const mayBe = (text: string): boolean => {
    const found = parsePrincipal('web', text);
    return 'sentence' in found && found.mayBeUnsigned;
  };
  expect(mayBe('{"key":"short"}')).toBe(false);
  for (const text of ['', '{', 'null', '{}', '{"unsigned":1}', '{"key":"x","unsigned":true}', '"key"']) {
    expect(mayBe(text)).toBe(true);
  }
});

test('32 bytes become a key for node:crypto, and fewer do not', () => {
  expect(keyObject(publicKey(KEY))?.asymmetricKeyType).toBe('ed25519');
  expect(keyObject('AAAA')).toBeNull();
});

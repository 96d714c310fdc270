// New inputs from old ones: bytes, words, numbers, lines, and the nodes of JSON.
import type { Random } from './random.ts';

export const MAX_INPUT_BYTES = 16_384;

/** Bytes and texts at which parsers differ. */
const SHARP = [
  ...[
    '\0',
    '\n',
    '\r\n',
    '\r',
    '\t',
    ' ',
    '"',
    "'",
    '\\',
    '\\"',
    '\\u0000',
    '\\ud800',
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '=',
  ],
  ...['+', '#', '@', '!', '.', '..', '-', '_', '/', '%', '\x7f', '\x1b[31m', '\ufeff', '\u2028', '\u00a0', '\u202e'],
  ...['\u{1f600}', '\u0130', '\u212a', 'dom0', '@adminvm', 'ai-', '__proto__', 'constructor', 'toString', 'length'],
  ...['1e309', '-0', '0.0', '1E400', '0x10', 'NaN', '-Infinity', 'null', 'true'],
];
const NUMBERS = [
  '0',
  '-1',
  '1',
  '31',
  '32',
  '33',
  '63',
  '64',
  '65',
  '127',
  '128',
  '255',
  '256',
  '4095',
  '4096',
  '4097',
];
const BIG = [
  '65535',
  '65536',
  '2147483647',
  '2147483648',
  '4294967296',
  '9007199254740991',
  '9007199254740993',
  '1e21',
];
const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  2 ** 53,
  '',
  'a',
  [],
  {},
  [[]],
  { a: 1 },
  '__proto__',
];

/** One input made of another, by a few changes. `others` lends pieces, `words` are put in whole. */
export const mutated = (random: Random, input: Buffer, others: readonly Buffer[], words: readonly string[]): Buffer => {
  let bytes = input;
  const rounds = 1 + random.below(random.chance(0.2) ? 8 : 3);
  for (let round = 0; round < rounds; round++) bytes = random.of(CHANGES)(random, bytes, others, words);
  return bytes.subarray(0, MAX_INPUT_BYTES);
};

type Change = (random: Random, bytes: Buffer, others: readonly Buffer[], words: readonly string[]) => Buffer;

const spliced = (bytes: Buffer, at: number, without: number, put: Buffer | string): Buffer =>
  Buffer.concat([
    bytes.subarray(0, at),
    typeof put === 'string' ? Buffer.from(put) : put,
    bytes.subarray(at + without),
  ]);

const place = (random: Random, bytes: Buffer): number => random.below(bytes.length + 1);
const stretch = (random: Random, bytes: Buffer, at: number): number =>
  random.below(Math.min(bytes.length - at, random.chance(0.2) ? 256 : 12) + 1);

const flip: Change = (random, bytes) => {
  if (bytes.length === 0) return bytes;
  const copy = Buffer.from(bytes);
  const at = random.below(copy.length);
  copy[at] = random.chance(0.5) ? (copy[at] as number) ^ (1 << random.below(8)) : random.below(256);
  return copy;
};
const insertSharp: Change = (random, bytes) => spliced(bytes, place(random, bytes), 0, random.of(SHARP));
const overwrite: Change = (random, bytes, _, words) => {
  const at = place(random, bytes);
  return spliced(bytes, at, stretch(random, bytes, at), random.of(words.length > 0 ? words : SHARP));
};
const insertWord: Change = (random, bytes, _, words) =>
  spliced(bytes, place(random, bytes), 0, random.of(words.length > 0 ? words : SHARP));
const remove: Change = (random, bytes) => {
  const at = place(random, bytes);
  return spliced(bytes, at, stretch(random, bytes, at), '');
};
const repeat: Change = (random, bytes) => {
  const at = place(random, bytes);
  const piece = bytes.subarray(at, at + stretch(random, bytes, at));
  const times = random.chance(0.05) ? 500 : 1 + random.below(4);
  return spliced(bytes, at, 0, Buffer.concat(Array.from({ length: times }, () => piece)));
};
const borrow: Change = (random, bytes, others) => {
  const other = random.of(others);
  const from = place(random, other);
  const at = place(random, bytes);
  return spliced(bytes, at, stretch(random, bytes, at), other.subarray(from, from + stretch(random, other, from)));
};
const cross: Change = (random, bytes, others) => {
  const other = random.of(others);
  return Buffer.concat([bytes.subarray(0, place(random, bytes)), other.subarray(place(random, other))]);
};
const number: Change = (random, bytes) => {
  const text = bytes.toString('latin1');
  const found = [...text.matchAll(/[0-9]+/g)];
  if (found.length === 0) return insertSharp(random, bytes, [], []);
  const { index, 0: digits } = random.of(found);
  const near = String(Number(digits) + (random.chance(0.5) ? 1 : -1));
  return spliced(bytes, index, digits.length, random.of([near, random.of(NUMBERS), random.of(BIG), `0${digits}`]));
};
const lines: Change = (random, bytes) => {
  const list = bytes.toString('latin1').split('\n');
  const [a, b] = [random.below(list.length), random.below(list.length)];
  const line = list[a] as string;
  if (random.chance(0.4)) [list[a], list[b]] = [list[b] as string, line];
  else if (random.chance(0.5)) list.splice(b, 0, line);
  else list.splice(a, 1);
  return Buffer.from(list.join('\n'), 'latin1');
};
/** The JSON value that the input ends in, changed in one node; what stands before it stays. */
const node: Change = (random, bytes, _, words) => {
  const text = bytes.toString('utf8');
  const at = text.search(/[{["]/);
  if (at < 0) return flip(random, bytes, [], []);
  let root: { value: unknown };
  try {
    root = { value: JSON.parse(text.slice(at)) };
  } catch {
    return flip(random, bytes, [], []);
  }
  changeNode(random, root, words);
  return Buffer.from(text.slice(0, at) + JSON.stringify(root.value));
};
const CHANGES: readonly Change[] = [
  ...[flip, insertSharp, overwrite, insertWord, remove, repeat, borrow, cross, number, lines],
  ...[node, node, node],
];

const changeNode = (random: Random, root: { value: unknown }, words: readonly string[]): void => {
  let holder: Record<string, unknown> = root as Record<string, unknown>;
  let key = 'value';
  for (let depth = 0; depth < 8; depth++) {
    const inner = holder[key];
    if (typeof inner !== 'object' || inner === null || random.chance(0.25)) break;
    const keys = Object.keys(inner);
    if (keys.length === 0) break;
    holder = inner as Record<string, unknown>;
    key = random.of(keys);
  }
  const value = holder[key];
  const other = (): unknown =>
    random.chance(0.4) && words.length > 0 ? random.of(words) : structuredClone(random.of(VALUES));
  const how = random.below(6);
  if (how === 0) delete holder[key];
  else if (how === 1 && !Array.isArray(holder)) set(holder, random.of([...SHARP, ...words]), other());
  else if (how === 2) holder[key] = [value, other()];
  else if (how === 3 && Array.isArray(value)) value.push(...value.slice(0, 64), other());
  else if (how === 4 && typeof value === 'string') holder[key] = value + random.of([...SHARP, ...words]);
  else holder[key] = other();
};

// As JSON.parse makes it: `__proto__` too is a member like any other.
const set = (holder: object, key: string, value: unknown): void => {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
};

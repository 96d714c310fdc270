// JSON as Python's `json` reads and writes it, for one purpose: to hash the records of the log that an earlier
// implementation kept (contract section 6: json.dumps with sorted keys, no spaces, ASCII). What differs from JavaScript:
// integers of any size, the text of floats (`1e+16`, `1e-05`, `1.0`), NaN and infinities, keys sorted by code point, and
// strings that may hold lone surrogates.

/** Deeper than this nothing is read; Python itself ends at about a thousand. */
export const MAX_DEPTH = 200;
/** Python refuses to read longer integers (sys.int_info.default_max_str_digits). */
export const MAX_DIGITS = 4300;

/** A parsed value. Numbers are kept as the text Python would write. */
export type PythonValue =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'array'; readonly items: readonly PythonValue[] }
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, PythonValue> };

/** Parses a text as json.loads does. Gives null where Python raises. */
export function parsePython(text: string): PythonValue | null {
  try {
    const { value, at } = readValue(text, skipSpace(text, 0), 0);
    return skipSpace(text, at) === text.length ? value : null;
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

/** json.dumps(value, sort_keys=True, separators=(',', ':')), leaving out one key of the outermost object. */
export function dumpPython(value: PythonValue, without: string | null = null): string {
  switch (value.kind) {
    case 'literal':
    case 'number':
      return value.text;
    case 'string':
      return quote(value.value);
    case 'array':
      return `[${value.items.map((item) => dumpPython(item)).join(',')}]`;
    case 'object':
      return `{${[...value.members]
        .filter(([key]) => key !== without)
        .sort(([a], [b]) => compareCodePoints(a, b))
        .map(([key, inner]) => `${quote(key)}:${dumpPython(inner)}`)
        .join(',')}}`;
  }
}

class Malformed extends Error {}

interface Read<T> {
  readonly value: T;
  readonly at: number;
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
// Python also reads these, and writes them.
const LITERAL = /null|true|false|NaN|-?Infinity/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these in strings
const PLAIN = /[^\u0000-\u001f"\\]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

const skipSpace = (text: string, at: number): number => at + (match(SPACE, text, at)?.[0].length ?? 0);

function readValue(text: string, at: number, depth: number): Read<PythonValue> {
  if (depth > MAX_DEPTH) throw new Malformed();
  switch (text[at]) {
    case '{':
      return readObject(text, at + 1, depth + 1);
    case '[':
      return readArray(text, at + 1, depth + 1);
    case '"': {
      const { value, at: end } = readString(text, at);
      return { value: { kind: 'string', value }, at: end };
    }
  }
  const literal = match(LITERAL, text, at)?.[0];
  if (literal !== undefined) return { value: { kind: 'literal', text: literal }, at: at + literal.length };
  const number = match(NUMBER, text, at);
  if (number === null) throw new Malformed();
  const [token, fraction, exponent] = number;
  const whole = fraction === undefined && exponent === undefined;
  return {
    value: { kind: 'number', text: whole ? pythonInt(token) : pythonFloat(Number(token)) },
    at: at + token.length,
  };
}

function readObject(text: string, from: number, depth: number): Read<PythonValue> {
  const members = new Map<string, PythonValue>();
  let at = skipSpace(text, from);
  if (text[at] === '}') return { value: { kind: 'object', members }, at: at + 1 };
  for (;;) {
    const key = readString(text, at);
    at = expect(text, skipSpace(text, key.at), ':');
    const inner = readValue(text, skipSpace(text, at), depth);
    // The last of several members of one name wins.
    members.set(key.value, inner.value);
    at = skipSpace(text, inner.at);
    if (text[at] === '}') return { value: { kind: 'object', members }, at: at + 1 };
    at = skipSpace(text, expect(text, at, ','));
  }
}

function readArray(text: string, from: number, depth: number): Read<PythonValue> {
  const items: PythonValue[] = [];
  let at = skipSpace(text, from);
  if (text[at] === ']') return { value: { kind: 'array', items }, at: at + 1 };
  for (;;) {
    const inner = readValue(text, at, depth);
    items.push(inner.value);
    at = skipSpace(text, inner.at);
    if (text[at] === ']') return { value: { kind: 'array', items }, at: at + 1 };
    at = skipSpace(text, expect(text, at, ','));
  }
}

function readString(text: string, from: number): Read<string> {
  let at = expect(text, from, '"');
  for (;;) {
    at += match(PLAIN, text, at)?.[0].length ?? 0;
    if (text[at] === '"') break;
    const escaped = match(ESCAPE, text, at);
    if (escaped === null) throw new Malformed();
    at += escaped[0].length;
  }
  const inner = text.slice(from + 1, at);
  return { value: inner.includes('\\') ? JSON.parse(`"${inner}"`) : inner, at: at + 1 };
}

function expect(text: string, at: number, character: string): number {
  if (text[at] !== character) throw new Malformed();
  return at + 1;
}

function pythonInt(token: string): string {
  if (token.length - (token.startsWith('-') ? 1 : 0) > MAX_DIGITS) throw new Malformed();
  return token === '-0' ? '0' : token;
}

/**
 * repr() of a Python float, which is not NaN. Both languages write the shortest digits that read back as the same number,
 * so only the layout differs: Python writes an exponent of at least two digits below 1e-4 and from 1e16 on, and `.0` where
 * there is no point.
 */
export function pythonFloat(value: number): string {
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const [mantissa, power] = Math.abs(value).toExponential().split('e') as [string, string];
  const digits = mantissa.replace('.', '');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    const point = digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits;
    return `${sign}${point}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const padded = digits.padEnd(exponent + 1, '0');
  return `${sign}${padded.slice(0, exponent + 1)}.${padded.slice(exponent + 1) || '0'}`;
}

// json.dumps escapes everything outside printable ASCII, as UTF-16 code units in lower-case hex; of the short escapes it
// uses the same as JSON.stringify, which leaves everything from DEL on alone.
const quote = (value: string): string =>
  JSON.stringify(value).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  // The second halves of two equal pairs are equal too.
  for (let at = 0; at < length; at += 1) {
    const left = a.codePointAt(at) as number;
    const right = b.codePointAt(at) as number;
    if (left !== right) return left - right;
  }
  return a.length - b.length;
}

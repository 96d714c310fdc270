// Numbers as a person writes them, and as the operator files want them: digits alone. Pure.

const BYTES: Readonly<Record<string, number>> = { kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 };
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** `50GiB` -> 53687091200 as digits, `12h` -> 43200; anything else as it is, for the parser of the file to judge. */
export function digitsOf(text: string, unit: 'bytes' | 'seconds'): string {
  const match = /^([0-9]{1,12}) ?([A-Za-z]{1,3})$/.exec(text);
  const factor = match && (unit === 'bytes' ? BYTES : SECONDS)[(match[2] as string).toLowerCase()];
  const value = match && factor ? Number(match[1]) * factor : Number.NaN;
  return Number.isSafeInteger(value) ? String(value) : text;
}

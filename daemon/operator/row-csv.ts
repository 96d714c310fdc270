// Records as CSV (RFC 4180) for a spreadsheet, which must not take any of them for a formula.
import type { Row } from '../journal/rows.ts';

// What a spreadsheet would compute instead of show.
const FORMULA = /^[=+\-@\t\r]/;

const COLUMNS: readonly (readonly [string, (row: Row) => string | number | null])[] = [
  ['seq', ({ seq }) => seq],
  ['ts', ({ ts }) => ts],
  ['type', ({ type }) => type],
  ['call', ({ call }) => call],
  ['source', ({ source }) => source],
  ['principal', ({ principal }) => principal],
  ['service', ({ service }) => service],
  ['action', ({ action }) => action],
  ['qubes', ({ qubes }) => qubes.map(({ name }) => name).join(' ')],
  [
    'uuids',
    ({ qubes }) =>
      qubes
        .map(({ uuid }) => uuid)
        .join(' ')
        .trim(),
  ],
  ['result', ({ result }) => result],
  ['detail', ({ detail }) => detail],
  ['duration_ms', ({ durationMs }) => durationMs],
  ['nonce', ({ nonce }) => nonce],
  ['args', ({ args }) => args],
];

export const CSV_HEAD = csvLine(COLUMNS.map(([title]) => title));

export const csvOf = (row: Row): string => csvLine(COLUMNS.map(([, cell]) => cell(row)));

function csvLine(cells: readonly (string | number | null)[]): string {
  return `${cells.map(field).join(',')}\r\n`;
}

function field(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

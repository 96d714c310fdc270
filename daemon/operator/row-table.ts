// Records as a table for a terminal, at most 80 columns wide, nothing of it able to drive the terminal.
import type { Row } from '../journal/rows.ts';
import { printable } from './command.ts';

export { WIDTH } from './help.ts';

interface Column {
  readonly title: string;
  readonly width: number;
  readonly cell: (row: Row) => string;
}

const COLUMNS: readonly Column[] = [
  { title: 'RECORD', width: 7, cell: ({ seq }) => (seq === null ? '' : String(seq)) },
  {
    title: 'UTC',
    width: 14,
    cell: ({ ts }) => ts.slice('2026-'.length, '2026-01-31T12:00:00'.length).replace('T', ' '),
  },
  { title: 'SOURCE', width: 15, cell: whoOf },
  { title: 'WHAT', width: 22, cell: whatOf },
  { title: 'RESULT', width: 18, cell: resultOf },
];

export const TABLE_HEAD = line(COLUMNS.map(({ title }) => title));

export const tableLine = (row: Row): string => line(COLUMNS.map(({ cell }) => cell(row)));

function whoOf({ source, principal }: Row): string {
  return principal === '' || principal === source ? source : `${principal}@${source}`;
}

function whatOf({ type, action, service, qubes }: Row): string {
  const names = qubes.map(({ name }) => name);
  return [action || service.replace(/^qmcp\.|AIManaged$/g, '') || type, ...names].join(' ');
}

// Where nobody asked for anything, what it is stands in WHAT already.
function resultOf({ service, result, detail }: Row): string {
  if (service === '') return detail === '' ? result : detail;
  return detail === '' ? result : `${result}: ${detail}`;
}

function line(cells: readonly string[]): string {
  const texts = COLUMNS.map(({ width }, index) => fitted(printable(cells[index] as string), width));
  return `${texts.join(' ').trimEnd()}\n`;
}

function fitted(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 2)}..` : text.padEnd(width);
}

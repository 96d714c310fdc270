// Records as a table for a terminal, at most 80 columns wide unless more is asked for, nothing of it able to drive the terminal.
import type { Row } from '../journal/rows.ts';
import { printable } from './command.ts';

export { WIDTH } from './help.ts';

interface Column {
  readonly title: string;
  readonly width: number;
  readonly cell: (row: Row) => string;
}

const COLUMNS: readonly Column[] = [
  { title: 'RECORD', width: 6, cell: recordOf },
  {
    title: 'UTC',
    width: 14,
    cell: ({ ts }) => ts.slice('2026-'.length, '2026-01-31T12:00:00'.length).replace('T', ' '),
  },
  { title: 'SOURCE', width: 12, cell: whoOf },
  { title: 'WHAT', width: 19, cell: whatOf },
  { title: 'RESULT', width: 25, cell: resultOf },
];

const WIDE_COLUMNS: readonly Column[] = [
  { title: 'RECORD', width: 6, cell: recordOf },
  { title: 'UTC', width: 24, cell: ({ ts }) => ts },
  { title: 'SOURCE', width: 19, cell: whoOf },
  { title: 'WHAT', width: 30, cell: whatOf },
  { title: 'RESULT', width: 25, cell: resultOf },
];

/** What is too long is cut, but never the number of a record, which other verbs are given. */
export const TABLE = formOf(COLUMNS, (text, width, column) =>
  text.length > width && column > 0 ? `${text.slice(0, width - 2)}..` : text,
);
/** Nothing is cut: lines may get longer than the terminal, and columns lean. */
export const WIDE_TABLE = formOf(WIDE_COLUMNS, (text) => text);

function recordOf({ seq }: Row): string {
  return seq === null ? '' : String(seq);
}

function whoOf({ source, principal }: Row): string {
  if (source === 'dom0' && principal === 'operator') return principal;
  return principal === '' || principal === 'default' || principal === source ? source : `${principal}@${source}`;
}

function whatOf({ type, action, service, qubes }: Row): string {
  const names = qubes.map(({ name }) => name);
  return [action || service.replace(/^qmcp\.|AIManaged$/g, '') || type, ...names].join(' ');
}

// Where nobody asked for anything, what it is stands in WHAT already.
function resultOf({ type, service, result, detail, args }: Row): string {
  if (type === 'operator') return [detail, aboutOf(args)].join(' ').trimEnd();
  if (type === 'settings' && detail === '') return 'all understood';
  if (service === '') return detail === '' ? result : detail;
  return detail === '' ? result : `${result}: ${detail}`;
}

/** Whom or what a verb of the operator was about, where its words do not say it. */
function aboutOf(args: string): string {
  const { source, name } = Object(args === '' ? {} : JSON.parse(args)) as Readonly<Record<string, unknown>>;
  return [source, name].filter((each) => typeof each === 'string').join(' ');
}

function formOf(columns: readonly Column[], cut: (text: string, width: number, column: number) => string) {
  const lineOf = (cells: readonly string[]): string =>
    `${cells
      .map((text, index) => cut(printable(text), columns[index]?.width ?? 0, index).padEnd(columns[index]?.width ?? 0))
      .join(' ')
      .trimEnd()}\n`;
  return {
    head: lineOf(columns.map(({ title }) => title)),
    line: (row: Row): string => lineOf(columns.map(({ cell }) => cell(row))),
  };
}

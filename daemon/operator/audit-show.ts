// qmcpctl audit show, tail, export: the records of the journal, for a person or for another program.
import { type Row, rowsOf } from '../journal/rows.ts';
import type { Source } from '../journal/sources.ts';
import { DONE, type Io, type Options, UsageError, verb } from './command.ts';
import { DEFAULT_LOG, LOG_OPTION, withSources } from './journal-place.ts';
import { CSV_HEAD, csvOf } from './row-csv.ts';
import { FILTER_OPTIONS, rowFilter } from './row-filter.ts';
import { TABLE, WIDE_TABLE } from './row-table.ts';

/** `tail` keeps so many records in memory at most. */
export const MAX_TAIL = 10_000;
const DEFAULT_TAIL = 20;

const RECORDS = {
  json: { type: 'boolean', default: false, text: 'the records themselves, one per line' },
} as const satisfies Options;
const WIDE = {
  wide: { type: 'boolean', short: 'w', default: false, text: 'cut nothing, however long the lines get' },
} as const satisfies Options;
const RECORD_SHAPE =
  'one line for each record, as it is in the journal: {"v": n, "seq": n, "ts": text, "type": word, "hash": text, "prev": text, ...}';
const WITHOUT_FILE = `Without FILE it reads all files in ${DEFAULT_LOG}.`;

export const auditShow = verb(
  {
    name: 'qmcpctl audit show',
    summary: 'show records, oldest first',
    operands: '[FILE]',
    words: ['file'],
    about: [`Shows the records of the journal that pass all the options, oldest first. ${WITHOUT_FILE}`],
    options: { ...FILTER_OPTIONS, ...LOG_OPTION, ...WIDE, ...RECORDS },
    examples: [['sudo qmcpctl audit show --since 1d --qube ai-work', 'What was asked about one qube since yesterday.']],
    json: RECORD_SHAPE,
  },
  async (values, operands, io) => {
    const wanted = rowFilter(values, io.now());
    return withSources(oneFile(operands), values, async (sources) => {
      const { head, line } = formOf(values);
      await io.out(head);
      for await (const rows of rowsOf(sources)) await print(rows.filter(wanted), line, io);
      return DONE;
    });
  },
);

export const auditTail = verb(
  {
    name: 'qmcpctl audit tail',
    summary: `show the last records (${DEFAULT_TAIL}, or as many as -n says)`,
    operands: '[FILE]',
    words: ['file'],
    about: [`Shows the last records of the journal that pass all the options. ${WITHOUT_FILE}`],
    options: {
      ...FILTER_OPTIONS,
      ...LOG_OPTION,
      number: {
        type: 'string',
        short: 'n',
        default: String(DEFAULT_TAIL),
        value: 'NUMBER',
        text: `so many, at most ${MAX_TAIL} (default ${DEFAULT_TAIL})`,
      },
      ...WIDE,
      ...RECORDS,
    },
    examples: [['sudo qmcpctl audit tail -n 5 --verdict refuse', 'The last five refusals, with the rule of each.']],
    json: RECORD_SHAPE,
  },
  async (values, operands, io) => {
    if (!/^[1-9][0-9]{0,5}$/.test(values.number) || Number(values.number) > MAX_TAIL) {
      throw new UsageError(`-n takes a number from 1 to ${MAX_TAIL}.`);
    }
    const wanted = rowFilter(values, io.now());
    const rows = await withSources(oneFile(operands), values, (sources) =>
      lastRows(sources, wanted, Number(values.number)),
    );
    const { head, line } = formOf(values);
    await io.out(head);
    await print(rows, line, io);
    return DONE;
  },
);

export const auditExport = verb(
  {
    name: 'qmcpctl audit export',
    summary: 'write records for another program, as JSON lines or CSV',
    operands: '[FILE]',
    words: ['file'],
    about: [
      'Writes the records of the journal that pass all the options to standard output: as JSON lines, unchanged, or as ' +
        `CSV with the columns ${CSV_HEAD.trimEnd().replaceAll(',', ', ')}. ${WITHOUT_FILE}`,
    ],
    options: {
      ...FILTER_OPTIONS,
      ...LOG_OPTION,
      format: {
        type: 'string',
        default: 'json',
        value: 'FORMAT',
        text: 'json (default) or csv',
        words: ['json', 'csv'],
      },
      json: { type: 'boolean', default: false, text: 'the same as --format json' },
    },
    examples: [['sudo qmcpctl audit export --since 30d --format csv >month.csv', 'The last month for a spreadsheet.']],
    json: RECORD_SHAPE,
  },
  async (values, operands, io) => {
    if (values.json && values.format !== 'json') throw new UsageError('Either --json or --format csv, not both.');
    const form = Object.hasOwn(FORMATS, values.format) ? FORMATS[values.format] : undefined;
    if (form === undefined) throw new UsageError('--format takes json or csv.');
    const wanted = rowFilter(values, io.now());
    return withSources(oneFile(operands), values, async (sources) => {
      await io.out(form.head);
      for await (const rows of rowsOf(sources)) await print(rows.filter(wanted), form.line, io);
      return DONE;
    });
  },
);

/** An unreadable line has nothing to hand on; verify names it. */
const rawLine = ({ line }: Row): string => (line === '' ? '' : `${line}\n`);

interface Form {
  readonly head: string;
  readonly line: (row: Row) => string;
}
const FORMATS: Readonly<Record<string, Form>> = {
  json: { head: '', line: rawLine },
  csv: { head: CSV_HEAD, line: csvOf },
};

const formOf = ({ json, wide }: { readonly json: boolean; readonly wide: boolean }): Form =>
  json ? { head: '', line: rawLine } : wide ? WIDE_TABLE : TABLE;

async function print(rows: readonly Row[], line: (row: Row) => string, io: Io): Promise<void> {
  const text = rows.map(line).join('');
  if (text !== '') await io.out(text);
}

/** The last `count` rows that are wanted, oldest first; reads no older file than it has to. */
async function lastRows(sources: readonly Source[], wanted: (row: Row) => boolean, count: number): Promise<Row[]> {
  let found: Row[] = [];
  for (const source of sources.toReversed()) {
    let inFile: Row[] = [];
    for await (const rows of rowsOf([source])) inFile = [...inFile, ...rows.filter(wanted)].slice(-count);
    found = [...inFile, ...found].slice(-count);
    if (found.length === count) break;
  }
  return found;
}

export function oneFile(positionals: readonly string[]): string | undefined {
  if (positionals.length > 1) throw new UsageError('Give one file at most.');
  return positionals[0];
}

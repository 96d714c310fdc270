// qmcpctl audit show, tail, export: the records of the journal, for a person or for another program.
import { parseArgs } from 'node:util';
import { type Row, rowsOf } from '../journal/rows.ts';
import type { Source } from '../journal/sources.ts';
import { type Command, DONE, type Io, UsageError } from './command.ts';
import { DEFAULT_LOG, withSources } from './journal-place.ts';
import { CSV_HEAD, csvOf } from './row-csv.ts';
import { FILTER_HELP, FILTER_OPTIONS, rowFilter } from './row-filter.ts';
import { TABLE_HEAD, tableLine } from './row-table.ts';

/** `tail` keeps so many records in memory at most. */
export const MAX_TAIL = 10_000;
const DEFAULT_TAIL = 20;

const COMMON_OPTIONS = {
  ...FILTER_OPTIONS,
  log: { type: 'string' },
  json: { type: 'boolean', default: false },
} as const;
const COMMON_HELP = `Without FILE it reads all files in ${DEFAULT_LOG}.

${FILTER_HELP}  --log DIR          the journal is in DIR
`;

export const auditShow: Command = {
  summary: 'show records, oldest first',
  help: `Usage: qmcpctl audit show [FILE] [OPTIONS]

Shows the records of the journal that pass all the options, oldest first.
${COMMON_HELP}  --json             the records themselves, one per line
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: COMMON_OPTIONS });
    const wanted = rowFilter(values, io.now());
    return withSources(oneFile(positionals), values, async (sources) => {
      if (!values.json) await io.out(TABLE_HEAD);
      for await (const rows of rowsOf(sources)) await print(rows.filter(wanted), values.json ? rawLine : tableLine, io);
      return DONE;
    });
  },
};

export const auditTail: Command = {
  summary: `show the last records (${DEFAULT_TAIL}, or as many as -n says)`,
  help: `Usage: qmcpctl audit tail [FILE] [-n NUMBER] [OPTIONS]

Shows the last records of the journal that pass all the options.
${COMMON_HELP}  -n NUMBER          so many, at most ${MAX_TAIL} (default ${DEFAULT_TAIL})
  --json             the records themselves, one per line
`,
  async run(args, io) {
    const options = {
      ...COMMON_OPTIONS,
      number: { type: 'string', short: 'n', default: String(DEFAULT_TAIL) },
    } as const;
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    if (!/^[1-9][0-9]{0,5}$/.test(values.number) || Number(values.number) > MAX_TAIL) {
      throw new UsageError(`-n takes a number from 1 to ${MAX_TAIL}.`);
    }
    const wanted = rowFilter(values, io.now());
    const rows = await withSources(oneFile(positionals), values, (sources) =>
      lastRows(sources, wanted, Number(values.number)),
    );
    if (!values.json) await io.out(TABLE_HEAD);
    await print(rows, values.json ? rawLine : tableLine, io);
    return DONE;
  },
};

export const auditExport: Command = {
  summary: 'write records for another program, as JSON lines or CSV',
  help: `Usage: qmcpctl audit export [FILE] [--format json|csv] [OPTIONS]

Writes the records of the journal that pass all the options to standard
output: as JSON lines, unchanged, or as CSV with the columns
${CSV_HEAD.trimEnd()}.
${COMMON_HELP}  --format FORMAT    json (default) or csv
`,
  async run(args, io) {
    const options = { ...COMMON_OPTIONS, format: { type: 'string', default: 'json' } } as const;
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    const form = Object.hasOwn(FORMATS, values.format) ? FORMATS[values.format] : undefined;
    if (form === undefined) throw new UsageError('--format takes json or csv.');
    const wanted = rowFilter(values, io.now());
    return withSources(oneFile(positionals), values, async (sources) => {
      await io.out(form.head);
      for await (const rows of rowsOf(sources)) await print(rows.filter(wanted), form.line, io);
      return DONE;
    });
  },
};

/** An unreadable line has nothing to hand on; verify names it. */
const rawLine = ({ line }: Row): string => (line === '' ? '' : `${line}\n`);

const FORMATS: Readonly<Record<string, { readonly head: string; readonly line: (row: Row) => string }>> = {
  json: { head: '', line: rawLine },
  csv: { head: CSV_HEAD, line: csvOf },
};

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

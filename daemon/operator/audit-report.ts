// qmcpctl audit report: the journal as a page to read.
import { writeFile } from 'node:fs/promises';
import { rowsOf } from '../journal/rows.ts';
import { oneFile } from './audit-show.ts';
import { KNOWN_BREAK_OPTION, knownBreaks, verifyPlace } from './audit-verify.ts';
import { DONE, FAILED, Refusal, UsageError, verb } from './command.ts';
import { DEFAULT_LOG, PLACE_OPTIONS, withSources } from './journal-place.ts';
import { counting } from './report/figures.ts';
import { pageOf } from './report/page.ts';
import { FILTER_OPTIONS, rowFilter } from './row-filter.ts';

export const auditReport = verb(
  {
    name: 'qmcpctl audit report',
    summary: 'write a page with counts, rankings and a chart',
    operands: '[FILE] --out PAGE.html',
    words: ['file'],
    about: [
      'Verifies the journal and writes one HTML file about it that needs no network: decisions over time, questions and ' +
        `answers, what was refused most, what took longest. Without FILE it reads all files in ${DEFAULT_LOG}.`,
    ],
    options: {
      ...FILTER_OPTIONS,
      ...PLACE_OPTIONS,
      ...KNOWN_BREAK_OPTION,
      out: {
        type: 'string',
        value: 'PAGE.html',
        text: 'the file to write, which must not exist; - for standard output',
        words: 'file',
      },
      json: { type: 'boolean', default: false, text: 'print JSON about what was written' },
    },
    examples: [['sudo qmcpctl audit report --since 7d --out week.html', 'A page about the last seven days.']],
    json: '{"page": path, "ok": bool, "entries": n}',
    exits: ['if the journal is intact', 'if not; the page is written either way'],
  },
  async (values, operands, io) => {
    const file = oneFile(operands);
    const { out } = values;
    if (out === undefined) throw new UsageError('Say with --out which file to write.');
    const wanted = rowFilter(values, io.now());
    if (values.json && out === '-') throw new UsageError('With --json, name a file with --out.');
    const { report: verified } = await verifyPlace(file, values, knownBreaks(values), () => {});
    const count = counting();
    await withSources(file, values, async (sources) => {
      for await (const rows of rowsOf(sources)) for (const row of rows) if (wanted(row)) count.see(row);
    });
    const page = pageOf({
      figures: count.figures(),
      verified,
      place: file ?? values.log ?? DEFAULT_LOG,
      made: new Date(io.now()).toISOString(),
      narrowed: Object.keys(FILTER_OPTIONS)
        .flatMap((name) => values[name as keyof typeof FILTER_OPTIONS]?.replace(/^/, `${name} `) ?? [])
        .join(', '),
    });
    if (out === '-') await io.out(page);
    else await writeNew(out, page);
    if (values.json) await io.out(`${JSON.stringify({ page: out, ok: verified.ok, entries: verified.records })}\n`);
    return verified.ok ? DONE : FAILED;
  },
);

/** Never over another file: a name mistyped as root must not cost one. */
async function writeNew(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Refusal(
      code === 'EEXIST' ? `${path} exists already. Name a new file.` : `${path} cannot be written (${code}).`,
    );
  }
}

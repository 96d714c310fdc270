// `npm run bench [-- --keep]`: measures what is promised and prints one table. Numbers compare within one run only.
// With --keep the table is also written to RESULTS.md.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { callRows, idleRows } from './calls.ts';
import { dialogRows } from './dialog.ts';
import { journalRows } from './journal.ts';
import { planRows } from './plans.ts';
import { principalRows } from './principals.ts';
import type { Row } from './row.ts';
import { spawnRows } from './spawn.ts';

const progress = (text: string): void => {
  process.stderr.write(`... ${text}\n`);
};

const sections: [string, () => Promise<readonly Row[]>][] = [
  ['A process per call', spawnRows],
  ['Calls', () => callRows([], progress)],
  ['Calls as installed (--jitless)', async () => [...(await idleRows()), ...(await callRows(['--jitless'], progress))]],
  ['Plans', async () => [...(await planRows([])), ...(await planRows(['--jitless']))]],
  [
    'Principals',
    async () => [...(await principalRows([], progress)), ...(await principalRows(['--jitless'], progress))],
  ],
  ['Journal', () => journalRows(progress)],
  ['Dialog', () => dialogRows(progress)],
];

const verdictOf = ({ target, met }: Row): string => {
  if (target === undefined) return '';
  return met === undefined ? target : `${met ? 'met' : 'MISSED'}: ${target}`;
};

const day = new Date().toISOString().slice(0, 10);
const machine = `Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${day}`;
const kept = [
  '# What `npm run bench` measured',
  '',
  `${machine}. Compare numbers of one run only. Written by \`npm run bench -- --keep\`.`,
];
let missed = 0;
process.stdout.write(`${machine}\n`);
for (const [title, rowsOf] of sections) {
  process.stdout.write(`\n${title}\n`);
  kept.push('', `## ${title}`, '', '| What | Measured | Target |', '|---|---|---|');
  for (const row of await rowsOf()) {
    const verdict = verdictOf(row);
    if (row.met === false) missed += 1;
    process.stdout.write(`  ${row.what}\n      ${row.measured}${verdict && `  [${verdict}]`}\n`);
    kept.push(`| ${row.what} | ${row.measured} | ${verdict} |`);
  }
}
const sum = missed === 0 ? 'Every target with a number was met.' : `${missed} targets were missed in this run.`;
process.stdout.write(`\n${sum}\n`);
if (process.argv.includes('--keep')) {
  writeFileSync(fileURLToPath(new URL('RESULTS.md', import.meta.url)), `${[...kept, '', sum].join('\n')}\n`);
}

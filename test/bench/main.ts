// `npm run bench`: measures what product.md promises and prints one table. Numbers compare within one run only.
import { cpus } from 'node:os';
import { callRows } from './calls.ts';
import { dialogRows } from './dialog.ts';
import { journalRows } from './journal.ts';
import { planRows } from './plans.ts';
import { principalRows } from './principals.ts';
import type { Row } from './row.ts';

const progress = (text: string): void => {
  process.stderr.write(`... ${text}\n`);
};

const sections: [string, () => Promise<readonly Row[]>][] = [
  ['Calls', () => callRows([], progress)],
  ['Calls as installed (--jitless)', () => callRows(['--jitless'], progress)],
  ['Plans', async () => [...(await planRows([])), ...(await planRows(['--jitless']))]],
  [
    'Principals',
    async () => [...(await principalRows([], progress)), ...(await principalRows(['--jitless'], progress))],
  ],
  ['Journal', () => journalRows(progress)],
  ['Dialog', () => dialogRows(progress)],
];

let missed = 0;
process.stdout.write(
  `Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${new Date().toISOString()}\n`,
);
for (const [title, rows] of sections) {
  process.stdout.write(`\n${title}\n`);
  for (const { what, measured, target, met } of await rows()) {
    const verdict =
      target === undefined
        ? ''
        : met === undefined
          ? `  [${target}]`
          : met
            ? `  [met: ${target}]`
            : `  [MISSED: ${target}]`;
    if (met === false) missed += 1;
    process.stdout.write(`  ${what}\n      ${measured}${verdict}\n`);
  }
}
process.stdout.write(
  missed === 0 ? '\nEvery target with a number was met.\n' : `\n${missed} targets were missed in this run.\n`,
);

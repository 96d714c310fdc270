// `npm run mutation [-- [--changed] AREA ...]`: changes the code of each area in hundreds of small ways, one at a time, and
// looks which changes no test notices. Those must be explained in SURVIVORS.md, whose table it brings up to date. Takes two
// hours for all areas on two cores, and so is no part of what decides whether a change may land; with --changed it tries only
// what is new since the last run in this directory.
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { AREAS } from './areas.ts';
import { explainedIn, tableOf, withRow } from './survivors.ts';
import { type Report, type Tally, tallyOf } from './tally.ts';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const ROOT = at('../..');
const STRYKER = at('node_modules/@stryker-mutator/core/bin/stryker.js');
const SURVIVORS = at('SURVIVORS.md');

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const install = async (): Promise<void> => {
  if (existsSync(STRYKER)) return;
  say('Installing the tool for mutants into test/mutation/node_modules ...');
  // The npm that runs this, if one does.
  const path = process.env.npm_execpath;
  const [command, ...args] = path?.endsWith('.js') ? [process.execPath, path] : ['npm'];
  await execa(command, [...args, 'ci', '--ignore-scripts'], { cwd: at('.') });
};

/** What became of the area's mutants, or null where they could not be tried. */
const judge = async (area: string): Promise<Tally | null> => {
  say(`\n${area}`);
  const env = { QMCP_MUTATED_AREA: area, QMCP_MUTATION_CHANGED: onlyChanged ? '1' : '0' };
  const { exitCode } = await execa(process.execPath, [STRYKER, 'run', 'test/mutation/stryker.config.mjs'], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
    reject: false,
  });
  if (exitCode !== 0) {
    say(`No mutant of ${area} was tried: what is above says why. Its tests must pass as they are, under load as well.`);
    return null;
  }
  const file = `${ROOT}/build/mutation-${area}`;
  if (!onlyChanged) copyFileSync(`${file}.json`, `${file}.incremental.json`);
  const report = JSON.parse(readFileSync(`${file}.json`, 'utf8')) as Report;
  const text = readFileSync(SURVIVORS, 'utf8');
  const tally = tallyOf(area, report, explainedIn(text));
  for (const line of tally.left) say(line);
  for (const line of tally.stale) say(`No survivor any more, to be taken off SURVIVORS.md: ${line}`);
  writeFileSync(SURVIVORS, withRow(text, today, tally));
  return tally;
};

const today = new Date().toISOString().slice(0, 10);
const onlyChanged = process.argv.includes('--changed');
const asked = process.argv.slice(2).filter((argument) => argument !== '--changed');
const unknown = asked.filter((area) => !Object.hasOwn(AREAS, area));
if (unknown.length > 0) {
  say(`There is no area ${unknown.join(', ')}. Say: npm run mutation [-- ${Object.keys(AREAS).join('|')} ...]`);
  process.exit(2);
}

await install();
const tallies: Tally[] = [];
for (const area of asked.length > 0 ? asked : Object.keys(AREAS)) {
  const tally = await judge(area);
  if (tally) tallies.push(tally);
  else process.exitCode = 1;
}
say(`\n${tableOf(today, tallies)}`);
if (tallies.some(({ area, all, noticed, left }) => left.length > 0 && noticed < all * (AREAS[area]?.wanted ?? 1))) {
  say('\nToo many mutants survive. Write the test that notices them, or explain them in test/mutation/SURVIVORS.md.');
  process.exitCode = 1;
}

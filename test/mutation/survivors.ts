// SURVIVORS.md: the mutants that no test notices, each with the reason why none has to, and the numbers of the last runs.
import type { Tally } from './tally.ts';

/** How a survivor is written there, but for the reason, which is the text above its list. */
export const lineOf = (file: string, before: string, after: string): string =>
  `- \`${file.replace(/^daemon\//, '')}\`: ${code(before)} → ${code(after)}`;

const code = (text: string): string => `\`\` ${text} \`\``;

export const explainedIn = (text: string): ReadonlySet<string> =>
  new Set(text.split('\n').filter((line) => line.startsWith('- `')));

const HEADER = [
  '| Area | Date | Mutants | Noticed by a test | Words alone | Explained below | Neither |',
  '|---|---|---:|---:|---:|---:|---:|',
];

const rowOf = (date: string, { area, all, noticed, words, explained, left }: Tally): string => {
  const percent = (count: number): string => `${((100 * count) / Math.max(all, 1)).toFixed(1)}%`;
  return `| ${area} | ${date} | ${all} | ${noticed} (${percent(noticed)}) | ${words} | ${explained} | ${left.length} |`;
};

/** The table of these runs alone. */
export const tableOf = (date: string, tallies: readonly Tally[]): string =>
  [...HEADER, ...tallies.map((tally) => rowOf(date, tally))].join('\n');

/** The document with the row of that area as it is now; the other rows stay what they were. */
export function withRow(text: string, date: string, tally: Tally): string {
  const row = rowOf(date, tally);
  const lines = text.split('\n');
  const known = lines.findIndex((line) => line.startsWith(`| ${tally.area} |`));
  const end = lines.indexOf(HEADER[1] ?? '') + 1;
  if (known >= 0) lines[known] = row;
  else
    lines.splice(
      lines.findIndex((line, index) => index >= end && !line.startsWith('|')),
      0,
      row,
    );
  return lines.join('\n');
}

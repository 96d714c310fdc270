// Tables for a terminal: at most 80 columns wide, nothing of their cells able to drive the terminal, colours only where the
// output takes them.
import { type Io, printable } from './command.ts';
import { WIDTH } from './help.ts';

export type Tone = 'good' | 'bad' | 'warn' | 'dim' | 'bold';
export type Cell = string | { readonly text: string; readonly tone: Tone };

const CODES: Readonly<Record<Tone, string>> = { good: '32', bad: '31', warn: '33', dim: '2', bold: '1' };
const GAP = 2;
const NARROWEST = 8;

/** The text in its tone, where the output takes colours. */
export const toned = (text: string, tone: Tone, { colour }: Pick<Io, 'colour'>): string =>
  colour ? `\x1b[${CODES[tone]}m${text}\x1b[0m` : text;

/**
 * Rows under their heads, each ending in a newline. What does not fit the width is taken from the widest columns, whose
 * cells are then cut with two dots.
 */
export function tableOf(heads: readonly string[], rows: readonly (readonly Cell[])[], io: Pick<Io, 'colour'>): string {
  const texts = rows.map((row) => row.map(textOf));
  const widths = fittedWidths(
    heads.map((head, column) => Math.max(head.length, ...texts.map((row) => row[column]?.length ?? 0))),
  );
  const line = (cells: readonly Cell[]): string => {
    const parts = cells.map((cell, column) => {
      const width = widths[column] ?? 0;
      const text = fitted(textOf(cell), width);
      const pad = column === cells.length - 1 ? '' : ' '.repeat(width - text.length + GAP);
      return (typeof cell === 'string' ? text : toned(text, cell.tone, io)) + pad;
    });
    return `${parts.join('').trimEnd()}\n`;
  };
  return [heads.map((text) => ({ text, tone: 'bold' }) as const), ...rows].map(line).join('');
}

const textOf = (cell: Cell): string => printable(typeof cell === 'string' ? cell : cell.text);

function fittedWidths(wanted: readonly number[]): number[] {
  const widths = [...wanted];
  const room = WIDTH - GAP * (widths.length - 1);
  for (;;) {
    const over = widths.reduce((sum, width) => sum + width, 0) - room;
    const widest = Math.max(...widths);
    if (over <= 0 || widest <= NARROWEST) return widths;
    const next = Math.max(NARROWEST, ...widths.filter((width) => width < widest));
    const at = widths.lastIndexOf(widest);
    const others = widths.filter((width) => width === widest).length;
    widths[at] = Math.max(widest - Math.max(1, Math.ceil(over / others)), Math.min(next, widest - 1));
  }
}

const fitted = (text: string, width: number): string => (text.length > width ? `${text.slice(0, width - 2)}..` : text);

/** Names and values, one a line, aligned; each ending in a newline. */
export const pairs = (rows: readonly (readonly [name: string, value: string])[]): string => {
  const width = Math.max(...rows.map(([name]) => name.length)) + GAP;
  return rows.map(([name, value]) => `${name.padEnd(width)}${value}\n`).join('');
};

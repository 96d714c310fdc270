// A question as rows of a terminal: whole, or not at all. Rows are our own arrangement of checked text; what they say is read
// back from them, and that is what gets signed (I5). Pure.
import { reasonNotToShow } from '../../dialog/displayable.ts';
import type { Asked } from '../../dialog/incoming.ts';
import { type Piece, type Row, rowsOf, type Span } from '../../dialog/rows.ts';
import type { Label } from '../../qube.ts';

type View = Asked['view'];

export interface Room {
  readonly columns: number;
  readonly rows: number;
  /** Whether the terminal takes colours. */
  readonly colour: boolean;
  /** Whether its characters are Unicode's. */
  readonly unicode: boolean;
}

export interface Sheet {
  /** For the terminal, colours included; every one shorter than the terminal is wide. */
  readonly rows: readonly string[];
  /** The question's lines as these rows hold them. */
  readonly lines: readonly string[];
}

/** Narrower, and a prompt could not be told from a value. */
export const LEAST_COLUMNS = 60;
/** Below the prompts: the time left, and what is typed. */
const FOOT_ROWS = 2;
const GAP = 2;

/** What has to be typed for a yes: the name, where something is destroyed. */
export const wordToAllow = ({ type_to_confirm }: View): string => type_to_confirm ?? 'allow';

/** With a blank, so that it can never be the name of a qube; null where freezing is not offered. */
export const wordToFreeze = ({ freeze }: View): string | null => (freeze === undefined ? null : `freeze ${freeze}`);

/** The question and how to answer it; or the sentence that says why it cannot be shown here. */
export const sheetOf = (view: View, { columns, rows, colour, unicode }: Room): Sheet | string => {
  if (columns < LEAST_COLUMNS) return `The terminal has ${columns} columns; a question needs ${LEAST_COLUMNS}.`;
  if (!unicode && view.lines.some((line) => /[^\x20-\x7e]/.test(line)))
    return 'The terminal does not take Unicode (LANG), and the question has characters of it.';
  // A character in the last column would make some terminals go to the next row by themselves.
  const width = columns - 1;
  const arranged = rowsOf(view);
  const at = Math.max(0, ...arranged.map((row) => (row.kind === 'fact' ? row.pieces[0].text.length + GAP : 0)));
  const blocks = arranged.map((row) => blockOf(row, at, width, colour));
  const prompts = promptsOf(view).map((text) => wrapped({ text, spans: [] }, width, false));
  const all = [...blocks.flat(), '', ...prompts.flat()];
  if (all.some((row) => plain(row).length > width)) return `A word of the question is longer than ${width} characters.`;
  if (all.length + FOOT_ROWS > rows)
    return `The question needs ${all.length + FOOT_ROWS} rows, and the terminal has ${rows}.`;
  const lines = blocks.map(lineIn);
  // Nothing that could drive the terminal, however it came here.
  const reason = reasonNotToShow(lines);
  return reason ?? { rows: all, lines };
};

const promptsOf = (view: View): string[] => {
  const freeze = wordToFreeze(view);
  return [
    `To allow: type ${wordToAllow(view)} and press Enter.`,
    'To deny: press Enter or Escape. Anything else that you type is a no, too.',
    ...(freeze === null ? [] : [`To deny and freeze ${view.freeze}: type ${freeze}`]),
  ];
};

const blockOf = (row: Row, at: number, width: number, colour: boolean): string[] => {
  if (row.kind !== 'fact') {
    const rows = wrapped(row.pieces[0], width, colour);
    return row.kind === 'headline' && colour ? rows.map((text) => `${BOLD}${text}${END}`) : rows;
  }
  const [name, value] = row.pieces;
  return wrapped(value, width - at, colour).map((text, index) => (index === 0 ? name.text : '').padEnd(at) + text);
};

/** A line as its rows hold it: in a line that may be shown no two blanks follow each other. */
const lineIn = (rows: readonly string[]): string => rows.map(plain).join(' ').replace(/ +/g, ' ').trim();

/** What is left of a row without its colours. */
export const plain = (row: string): string => row.replace(COLOURS, '');

// ---- words, broken at blanks and coloured where they are names of qubes

interface Word {
  readonly text: string;
  /** Its position in the piece. */
  readonly start: number;
}

const wrapped = ({ text, spans }: Piece, width: number, colour: boolean): string[] => {
  const rows: Word[][] = [];
  let length = 0;
  for (const { 0: word, index: start } of text.matchAll(/\S+/g)) {
    const row = rows.at(-1);
    if (row !== undefined && length + 1 + word.length <= width) {
      row.push({ text: word, start });
      length += 1 + word.length;
    } else {
      rows.push([{ text: word, start }]);
      length = word.length;
    }
  }
  return rows.map((row) => row.map((word) => (colour ? coloured(word, spans) : word.text)).join(' '));
};

const coloured = ({ text, start }: Word, spans: readonly Span[]): string => {
  const span = spans.find((one) => one.start >= start && one.end <= start + text.length);
  if (span === undefined) return text;
  const [from, to] = [span.start - start, span.end - start];
  return `${text.slice(0, from)}${CHIPS[span.label]}${text.slice(from, to)}${END}${text.slice(to)}`;
};

const BOLD = '\x1b[1m';
const END = '\x1b[0m';
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const COLOURS = /\x1b\[[0-9;]*m/g;

/** Letters that can be read on their ground, on a console of 16 colours too. The colour's name stands beside each. */
export const CHIPS: Readonly<Record<Label, string>> = {
  red: '\x1b[97;41m',
  orange: '\x1b[30;48;5;208m',
  yellow: '\x1b[30;43m',
  green: '\x1b[30;42m',
  gray: '\x1b[30;47m',
  blue: '\x1b[97;44m',
  purple: '\x1b[97;45m',
  black: '\x1b[97;40m',
};

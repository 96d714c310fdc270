// What --help says, made of the definitions. Pure.
import type { Command, Definition, Option } from './command.ts';

export const WIDTH = 80;
/** Where the texts of options and verbs begin, at most. */
const TEXT_AT = 24;

const PLACES_LINE = '  --etc, --run, --log and so on say where things are; see "man qmcpctl"';

/** The help of one verb, ending in a newline. */
export function verbHelp({ name, operands, about, options, examples, json, exits }: Definition): string {
  const usage = `Usage: ${[name, operands, '[OPTIONS]'].filter(Boolean).join(' ')}`;
  const paragraphs = about.map((each) => wrapped(each, WIDTH - 1).join('\n'));
  const rows = Object.entries(options).map(([long, option]) => [optionTerm(long, option), option.text] as const);
  return `${[
    usage,
    ...paragraphs,
    [...(rows.length > 0 ? [listed(rows)] : []), PLACES_LINE].join('\n'),
    examples.map(([command, does]) => `Example: ${command}\n${indented(does)}`).join('\n'),
    ...(exits === undefined ? [] : [wrapped(exitSentence(exits), WIDTH - 1).join('\n')]),
    ...shapesOf(json).map(({ when, shape }) => `--json prints${when === '' ? '' : `, ${when}`}:\n${indented(shape)}`),
  ].join('\n\n')}\n`;
}

/** What --json prints, and when, where that is not always the same. How to read a shape is `NOTATION`. */
export const shapesOf = (json: string | null): { readonly when: string; readonly shape: string }[] =>
  (json ?? '').split(/\n(?=[a-z][A-Za-z, ]*: )/).flatMap((part) => {
    const [, when = '', shape = ''] = /^(?:([a-z][A-Za-z, ]*): )?([[{].*)$/s.exec(part) ?? [];
    return shape === '' ? [] : [{ when, shape }];
  });

export const NOTATION =
  'It is one JSON value in a line. In the shapes here {"a", "b": n} is an object with exactly these fields: n is a number, ' +
  'bool is true or false, and any other word a text, as is a field of which nothing is said; [x] is a list of any length; ' +
  'or parts what else can stand there; and ... stands for more fields, which depend on the rest.';

export const groupHelp = (name: string, summary: string, verbs: Readonly<Record<string, Command>>): string => {
  const rows = Object.entries(verbs).map(([verb, command]) => [verb, command.summary] as const);
  const sentence = `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
  return `Usage: ${name} VERB [...]\n\n${sentence}\n\n${listed(rows)}\n\n"${name} VERB --help" tells more.\n`;
};

export const exitSentence = ([done, failed]: readonly [string, string]): string =>
  `Exits 0 ${done}, 1 ${failed}, 2 if the arguments make no sense.`;

/** `-n, --number NUMBER`. */
export const optionTerm = (long: string, { short, value }: Option): string =>
  `${short === undefined ? '' : `-${short}, `}--${long}${value === undefined ? '' : ` ${value}`}`;

/** Terms with their texts beside them, aligned. */
function listed(rows: readonly (readonly [term: string, text: string])[]): string {
  const at = Math.min(TEXT_AT, Math.max(...rows.map(([term]) => term.length)) + 4);
  return rows
    .map(([term, text]) => {
      const lines = wrapped(text, WIDTH - 1 - at);
      const head = term.length + 4 > at ? [`  ${term}`] : [`  ${term.padEnd(at - 2)}${lines.shift() ?? ''}`];
      return [...head, ...lines.map((line) => ' '.repeat(at) + line)].join('\n');
    })
    .join('\n');
}

const indented = (text: string): string =>
  wrapped(text, WIDTH - 3)
    .map((line) => `  ${line}`)
    .join('\n');

/** The text in lines of at most so many characters, broken at blanks; a longer word stands alone. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/).filter(Boolean)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return line === '' ? lines : [...lines, line];
}

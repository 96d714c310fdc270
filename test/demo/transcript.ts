// The transcript: who says what, in two columns. Colour only on a terminal, and not where NO_COLOR is set.
import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

export type Who = 'agent' | 'broker' | 'qubesd' | 'window' | 'operator' | 'answer' | 'you' | '';

const MARGIN = 11;
const WIDTH = 100;

const STYLES: Readonly<Partial<Record<Who, Style>>> = { window: 'bold', operator: 'cyan', you: ['cyan', 'bold'] };

export class Transcript {
  readonly #write: (text: string) => unknown;
  readonly #coloured: boolean;
  /** What did not go as it should, in sentences. */
  readonly failures: string[] = [];
  #scenes = 0;

  constructor(write: (text: string) => unknown, coloured: boolean) {
    this.#write = write;
    this.#coloured = coloured;
  }

  title(text: string): void {
    this.#line(this.#styled('bold', text));
  }

  /** A paragraph, broken into lines. */
  prose(text: string): void {
    for (const line of broken(text, WIDTH)) this.#line(line);
  }

  scene(title: string): void {
    this.#scenes += 1;
    this.#line('');
    this.#line(this.#styled('bold', `${this.#scenes}. ${title}`));
  }

  /** One party and what it says or does; every further line below the first. */
  says(who: Who, ...lines: readonly string[]): void {
    const style = STYLES[who];
    lines.forEach((line, index) => {
      const name = (index === 0 ? who : '').padEnd(MARGIN - 2);
      this.#line(`  ${this.#styled('dim', name)}${style ? this.#styled(style, line) : line}`.trimEnd());
    });
  }

  remark(text: string): void {
    for (const line of broken(text, WIDTH - MARGIN)) this.#line(`${' '.repeat(MARGIN)}${this.#styled('dim', line)}`);
  }

  /** Text of another program, as it is. */
  quote(lines: readonly string[]): void {
    for (const line of lines) this.#line(`  ${line}`);
  }

  blank(): void {
    this.#line('');
  }

  /** Notes a failure unless `holds`. */
  check(holds: boolean, otherwise: string): void {
    if (holds) return;
    this.failures.push(otherwise);
    this.says('', this.#styled('red', `WRONG: ${otherwise}`));
  }

  /** The last line. */
  verdict(): void {
    const { length } = this.failures;
    if (length === 0) this.#line(this.#styled(['green', 'bold'], 'Everything went as it should.'));
    else this.#line(this.#styled(['red', 'bold'], 'Something went wrong: see what is marked WRONG above.'));
  }

  #styled(style: Style, text: string): string {
    return this.#coloured && text !== '' ? styleText(style, text, { validateStream: false }) : text;
  }

  #line(text: string): void {
    this.#write(`${text}\n`);
  }
}

/** Rows of cells as lines, each column as wide as its widest cell. */
export const columns = (rows: readonly (readonly string[])[]): string[] => {
  const widths = (rows[0] ?? []).map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
};

/** Text in lines of at most so many characters, broken between words. */
export const broken = (text: string, width: number): string[] => {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
};

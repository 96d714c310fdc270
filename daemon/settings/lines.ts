// The shape all operator files share: lines, comments after #, blank lines. Pure.

/** A line that says something, without comment and outer blanks. */
export interface Line {
  /** Counted from 1 in the file. */
  readonly number: number;
  readonly text: string;
}

/**
 * The lines that say something. Only \n ends a line, and blanks are space, tab and the \r before it: any other separator
 * stays inside a line, where no grammar admits it, so that an oddly written file is malformed and never silently short.
 */
export function contentLines(text: string): readonly Line[] {
  const lines: Line[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = trimmed(raw.split('#', 1)[0] ?? '');
    if (line !== '') lines.push({ number: index + 1, text: line });
  }
  return lines;
}

// A loop, as a regular expression anchored at the end takes quadratic time on a long run of blanks.
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09 || code === 0x0d;

const QUOTE_MAX = 40;

/** A piece of a file inside a sentence: printable ASCII only and bounded, so that it cannot draw on the operator's terminal. */
export function quoted(text: string): string {
  const shown = text.slice(0, QUOTE_MAX).replace(/[^\x20-\x7e]/g, '?');
  return `'${shown}'${text.length > QUOTE_MAX ? '...' : ''}`;
}

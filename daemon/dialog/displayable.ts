// What may be put on the screen. The broker writes only such text; whatever else arrives is refused whole, because a
// text that is cut, reordered or partly invisible is not the one the person would be approving (I5).

export const MAX_LINES = 80;
export const MAX_LINE_LENGTH = 240;
export const MAX_HEADLINE_LENGTH = 120;

// Printable ASCII and the few typographic signs of our own wording. An allowlist: look-alike letters, bidi controls,
// zero-width and soft characters, newlines and NUL are all outside it without having to be thought of.
const PRINTABLE = /^[\x20-\x7e\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u2192\u00d7\u00b7\u2022]+$/;
// Padding can push words apart until they read as something else.
const PADDED = /^ | $| {2}/;

/** Why these lines must not be shown, as a sentence; null when they may be. */
export const reasonNotToShow = (lines: readonly string[]): string | null => {
  if (lines.length === 0) return 'The question has no text.';
  if (lines.length > MAX_LINES) return `The question has ${lines.length} lines, more than ${MAX_LINES}.`;
  const bad = lines.findIndex((line, index) => lineDefect(line, index === 0) !== null);
  return bad < 0 ? null : `Line ${bad + 1} of the question ${lineDefect(lines[bad] ?? '', bad === 0)}.`;
};

const lineDefect = (line: string, isHeadline: boolean): string | null => {
  if (line === '') return 'is empty';
  if (line.length > (isHeadline ? MAX_HEADLINE_LENGTH : MAX_LINE_LENGTH)) return 'is too long';
  if (!PRINTABLE.test(line)) return 'has characters other than plain printable ones';
  if (PADDED.test(line)) return 'is padded with spaces';
  return null;
};

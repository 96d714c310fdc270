// The lines of a question arranged for the eye. Every row keeps its text in pieces that, joined by one space, are the
// line again: what the widgets hold can be read back and compared (I5).
import type { Label } from '../qube.ts';
import type { Asked } from './incoming.ts';

/** A qube's name inside a piece: half-open range of UTF-16 positions in `text`. */
export interface Span {
  readonly start: number;
  readonly end: number;
  readonly label: Label;
}

export interface Piece {
  readonly text: string;
  readonly spans: readonly Span[];
}

export type Row =
  | { readonly kind: 'headline'; readonly pieces: readonly [Piece] }
  | { readonly kind: 'fact'; readonly pieces: readonly [Piece, Piece] }
  | { readonly kind: 'sentence'; readonly pieces: readonly [Piece] };

// `Name: value`, `Step 2: value`, `Step 2, more: value`.
const FACT = /^([A-Z][A-Za-z0-9, ]{0,23}:) (.+)$/;

/** One row per line, in order. */
export const rowsOf = ({ lines, marks }: Pick<Asked['view'], 'lines' | 'marks'>): Row[] =>
  lines.map((line, index) => {
    const spans = marks.filter((mark) => mark.line === index).map(({ start, end, label }) => ({ start, end, label }));
    if (index === 0) return { kind: 'headline', pieces: [{ text: line, spans }] };
    const fact = FACT.exec(line);
    if (!fact?.[1] || !fact[2]) return { kind: 'sentence', pieces: [{ text: line, spans }] };
    const [name, value] = [fact[1], fact[2]];
    const from = name.length + 1;
    // A name before the colon would lose its colour in this arrangement.
    if (spans.some(({ start }) => start < from)) return { kind: 'sentence', pieces: [{ text: line, spans }] };
    const moved = spans.map(({ start, end, label }) => ({ start: start - from, end: end - from, label }));
    return {
      kind: 'fact',
      pieces: [
        { text: name, spans: [] },
        { text: value, spans: moved },
      ],
    };
  });

/** The line that a row's texts, as read back from its widgets, stand for. */
export const lineOf = (texts: readonly string[]): string => texts.join(' ');

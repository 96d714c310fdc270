// Qube label colours. A name is drawn as a chip with a background and a foreground of its own, so that black on a dark
// theme and yellow on a light one stay as readable as the rest; every pair has a contrast of at least 4.5 : 1 (WCAG AA).
import { LABELS, type Label } from '../qube.ts';
import type { Piece } from './rows.ts';

export interface Chip {
  readonly background: string;
  readonly foreground: string;
}

export const CHIPS: Record<Label, Chip> = {
  red: { background: '#c01c28', foreground: '#ffffff' },
  orange: { background: '#ffa348', foreground: '#000000' },
  yellow: { background: '#f8e45c', foreground: '#000000' },
  green: { background: '#1f7a3f', foreground: '#ffffff' },
  gray: { background: '#6a6a6a', foreground: '#ffffff' },
  blue: { background: '#1c5fb8', foreground: '#ffffff' },
  purple: { background: '#813d9c', foreground: '#ffffff' },
  black: { background: '#000000', foreground: '#ffffff' },
};

/** The style class that draws the background of a label's chip. */
export const chipClass = (label: Label): string => `qmcp-chip-${label}`;

/** Style rules for `chipClass`. The border keeps a chip's edge visible on a theme of its own colour. */
export const CHIP_STYLE = LABELS.map(
  (label) => `.${chipClass(label)} {
  background: ${CHIPS[label].background};
  border: 1px solid alpha(@theme_fg_color, 0.45);
  border-radius: 4px;
}`,
).join('\n');

/** Room, in Pango units of 1/1024 pixel, that the spaces around a name gain for the sides of its chip. */
const ROOM = 4096;

/** The letters' attributes in the text form of pango_attr_list_to_string (byte positions); '' when there are none. */
export const letterAttributes = ({ text, spans }: Piece): string => {
  const attribute = (start: number, end: number, what: string) =>
    `${bytesBefore(text, start)} ${bytesBefore(text, end)} ${what}`;
  return spans
    .flatMap(({ start, end, label }) => [
      attribute(start, end, `foreground ${CHIPS[label].foreground}`),
      attribute(start, end, 'weight bold'),
      // Names have hyphens, and a name on two lines is hard to read as one.
      attribute(start, end, 'allow-breaks false'),
      ...[start - 1, end].filter((at) => text[at] === ' ').map((at) => attribute(at, at + 1, `letter-spacing ${ROOM}`)),
    ])
    .join('\n');
};

/** The position in bytes of a position in UTF-16 units. */
export const bytesBefore = (text: string, position: number): number =>
  Buffer.byteLength(text.slice(0, position), 'utf8');

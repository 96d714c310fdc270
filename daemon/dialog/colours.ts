// Qube label colours. A name is drawn as a chip with a background and a foreground of its own, so that black on a dark
// theme and yellow on a light one stay as readable as the rest; every pair has a contrast of at least 4.5 : 1 (WCAG AA).
import type { Label } from '../qube.ts';
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

/** The attributes of a piece in the text form of pango_attr_list_to_string (byte positions); '' when it has none. */
export const chipAttributes = ({ text, spans }: Piece): string =>
  spans
    .flatMap(({ start, end, label }) => {
      const range = `${bytesBefore(text, start)} ${bytesBefore(text, end)}`;
      const { background, foreground } = CHIPS[label];
      return [`${range} background ${background}`, `${range} foreground ${foreground}`, `${range} weight bold`];
    })
    .join('\n');

const bytesBefore = (text: string, position: number): number => Buffer.byteLength(text.slice(0, position), 'utf8');

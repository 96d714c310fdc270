// Draws the coloured background of qube names behind a label's own text, which stays what it is: the text that is read
// back for the receipt.
import { bytesBefore, chipClass } from './colours.ts';
import type { Toolkit } from './gtk.ts';
import type { Area } from './placement.ts';
import type { Piece, Span } from './rows.ts';

// Pixels. Sideways into the space between words; less than the line's height, which has room for accents.
const SIDE = 3;
const TOP = 1;

/** Must be called before the label is drawn; the label must hold the piece's text. */
export const drawChips = ({ Gtk, Pango }: Toolkit, label: InstanceType<Toolkit['Gtk']['Label']>, piece: Piece) => {
  label.on('draw', (cairo) => {
    const context = label.getStyleContext();
    const [left, top] = label.getLayoutOffsets();
    const { x, y } = label.getAllocation();
    for (const span of piece.spans) {
      context.save();
      context.addClass(chipClass(span.label));
      for (const area of lineAreas(span)) {
        const [at, down] = [left - x + area.x - SIDE, top - y + area.y + TOP];
        const [wide, high] = [area.width + 2 * SIDE, area.height - 2 * TOP];
        Gtk.renderBackground(context, cairo, at, down, wide, high);
        Gtk.renderFrame(context, cairo, at, down, wide, high);
      }
      context.restore();
    }
    return false;
  });

  // A name that breaks over two lines has an area in each. Qube names are ASCII: one byte, one letter.
  const lineAreas = ({ start, end }: Span): Area[] => {
    const layout = label.getLayout();
    const from = bytesBefore(piece.text, start);
    const letters = Array.from({ length: end - start }, (_, index) => layout.indexToPos(from + index));
    const areas = new Map<number, Area>();
    for (const letter of letters) {
      const before = areas.get(letter.y);
      const x = Math.min(before?.x ?? letter.x, letter.x);
      const right = Math.max(before ? before.x + before.width : 0, letter.x + letter.width);
      areas.set(letter.y, { x, y: letter.y, width: right - x, height: letter.height });
    }
    return [...areas.values()].map((area) => ({
      x: area.x / Pango.SCALE,
      y: area.y / Pango.SCALE,
      width: area.width / Pango.SCALE,
      height: area.height / Pango.SCALE,
    }));
  };
};

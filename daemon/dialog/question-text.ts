// The lines of a question as labels, and back again.
import type { Toolkit } from './gtk.ts';
import type { Asked } from './incoming.ts';
import { lineOf, type Row, rowsOf } from './rows.ts';
import type { Box, Label, Widget, Widgets } from './widgets.ts';

/** Pixels between rows of a long question. */
const TIGHT = 3;

type Grid = InstanceType<Toolkit['Gtk']['Grid']>;

export interface QuestionText {
  /** The lines as the labels hold them at this moment; null when any of them is not wholly visible. */
  readonly readBack: () => string[] | null;
  /** Closes up the rows, for a question that is long. */
  readonly tighten: () => void;
}

/** Puts one label, or two side by side, for each line into `body`. */
export const questionText = ({ Gtk }: Toolkit, make: Widgets, view: Asked['view'], body: Box): QuestionText => {
  const names = Gtk.SizeGroup.new(Gtk.SizeGroupMode.HORIZONTAL);
  const grids: Grid[] = [];
  let facts: Grid | null = null;

  const put = (row: Row): Label[] => {
    if (row.kind === 'fact') {
      if (facts === null) {
        facts = below(new Gtk.Grid({ columnSpacing: 14, rowSpacing: 6 }));
        grids.push(facts);
      }
      const name = make.tag(row.pieces[0].text, 'qmcp-fact-name');
      const value = make.label(row.pieces[1]);
      names.addWidget(name);
      facts.attachNextTo(name, null, Gtk.PositionType.BOTTOM, 1, 1);
      facts.attachNextTo(value, name, Gtk.PositionType.RIGHT, 1, 1);
      return [name, value];
    }
    facts = null;
    return [below(make.label(row.pieces[0], `qmcp-${row.kind}`))];
  };

  const below = <W extends Widget>(widget: W): W => {
    body.packStart(widget, false, false, 0);
    return widget;
  };

  const shown = rowsOf(view).map(put);

  return {
    readBack: () =>
      shown.every((labels) => labels.every(isWhole))
        ? shown.map((labels) => lineOf(labels.map((label) => label.getText())))
        : null,
    tighten: () => {
      body.setSpacing(TIGHT);
      for (const grid of grids) grid.setRowSpacing(TIGHT);
    },
  };
};

/** On the screen, every letter with a shape in the font, nothing cut to fit. */
const isWhole = (label: Label): boolean => {
  const layout = label.getLayout();
  const [, height] = layout.getPixelSize();
  return (
    label.getMapped() &&
    !layout.isEllipsized() &&
    layout.getUnknownGlyphsCount() === 0 &&
    height <= label.getAllocatedHeight()
  );
};

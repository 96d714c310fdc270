// The few widgets the window is made of. Text goes in as text: no markup, no mnemonics, nothing that reads it. What has
// a text has it for its accessible name too; the others are given one.
import { drawChips } from './chips.ts';
import { letterAttributes } from './colours.ts';
import type { Toolkit } from './gtk.ts';
import type { Piece } from './rows.ts';

export type Widget = InstanceType<Toolkit['Gtk']['Widget']>;
export type Label = InstanceType<Toolkit['Gtk']['Label']>;
export type Button = InstanceType<Toolkit['Gtk']['Button']>;
export type Box = InstanceType<Toolkit['Gtk']['Box']>;

export interface Widgets {
  /** Gives a widget its accessible name and its style classes. */
  readonly named: <W extends Widget>(widget: W, name: string, ...classes: string[]) => W;
  /** Wraps to the width it is given, and asks for none of its own. */
  readonly label: (piece: Piece, ...classes: string[]) => Label;
  /** Takes the width of its text, on one line. */
  readonly tag: (text: string, ...classes: string[]) => Label;
  readonly button: (text: string, deed: () => void) => Button;
  readonly row: (spacing: number, ...classes: string[]) => Box;
  readonly column: (spacing: number, ...classes: string[]) => Box;
}

// A natural width of next to nothing: the window's width is ours, the height follows from it.
const NARROW = 1;
const UNLIMITED = -1;

export const widgetsOf = (toolkit: Toolkit): Widgets => {
  const { Gtk, Pango } = toolkit;

  const styled = <W extends Widget>(widget: W, classes: readonly string[]): W => {
    for (const one of classes) widget.getStyleContext().addClass(one);
    return widget;
  };

  const named: Widgets['named'] = (widget, name, ...classes) => {
    widget.getAccessible().setName(name);
    return styled(widget, classes);
  };

  const label: Widgets['label'] = (piece, ...classes) => {
    const made = new Gtk.Label({ wrap: true, xalign: 0, yalign: 0, selectable: false });
    made.setUseMarkup(false);
    made.setUseUnderline(false);
    made.setText(piece.text);
    made.setLineWrapMode(Pango.WrapMode.WORD_CHAR);
    made.setMaxWidthChars(NARROW);
    made.setHexpand(true);
    if (piece.spans.length > 0) {
      made.setAttributes(Pango.AttrList.fromString(letterAttributes(piece)));
      drawChips(toolkit, made, piece);
    }
    return styled(made, classes);
  };

  const tag: Widgets['tag'] = (text, ...classes) => {
    const made = label({ text, spans: [] }, ...classes);
    made.setHexpand(false);
    made.setLineWrap(false);
    made.setMaxWidthChars(UNLIMITED);
    return made;
  };

  const button: Widgets['button'] = (text, deed) => {
    const made = Gtk.Button.newWithLabel(text);
    made.setUseUnderline(false);
    made.on('clicked', deed);
    return made;
  };

  const box = (orientation: number, spacing: number, classes: string[]) =>
    styled(new Gtk.Box({ orientation, spacing }), classes);

  return {
    named,
    label,
    tag,
    button,
    row: (spacing, ...classes) => box(Gtk.Orientation.HORIZONTAL, spacing, classes),
    column: (spacing, ...classes) => box(Gtk.Orientation.VERTICAL, spacing, classes),
  };
};

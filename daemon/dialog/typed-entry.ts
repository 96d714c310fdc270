// The entry for the name. Typed means typed: one character per key press. Paste (by key, menu or middle click), drop and
// whatever another program inserts change the text outside a key press or by more than one character, and are undone:
// a name that can be pasted need not be read.
import type { Gate } from './gate.ts';
import type { Toolkit } from './gtk.ts';
import type { Widgets } from './widgets.ts';

const PRIMARY_BUTTON = 1;

/** `onChange` is called after every change of `text()`, which is exactly what was typed, spaces included. */
export const typedEntry = ({ Gtk, Gdk }: Toolkit, make: Widgets, gate: Gate, name: string, onChange: () => void) => {
  const [PASS, STOP] = [false, true];
  const widget = make.named(new Gtk.Entry(), name, 'qmcp-entry');
  let typed = '';

  widget.setActivatesDefault(false);
  widget.dragDestUnset();
  widget.on('changed', () => {
    const text = widget.getText();
    if (text === typed) return;
    if (gate.isHandling(Gdk.EventType.KEY_PRESS) && text.length <= typed.length + 1) typed = text;
    else widget.setText(typed);
    onChange();
  });
  // The menu of an entry grabs the pointer and holds nothing that may be used.
  widget.on('button-press-event', (event) =>
    event.button === PRIMARY_BUTTON && gate.mayPass(event.sendEvent) ? PASS : STOP,
  );
  widget.on('popup-menu', () => STOP);

  return {
    widget,
    text: () => typed,
    clear: () => {
      typed = '';
      widget.setText('');
    },
  };
};

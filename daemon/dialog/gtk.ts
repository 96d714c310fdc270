// The toolkit, loaded late: the listener, enrolment and every refusal before a window must not pay for it.
import { createRequire } from 'node:module';
import type * as NodeGtk from 'node-gtk';
import { applyStyle } from './monitor.ts';
import { STYLE } from './style.ts';

const load = () => {
  // Found from the built file: in CommonJS `__filename` is that file, and node-gtk sits in a node_modules above it.
  const gi = createRequire(__filename)('node-gtk') as typeof NodeGtk;
  const Gtk = gi.require('Gtk', '3.0');
  const Gdk = gi.require('Gdk', '3.0');
  const Gio = gi.require('Gio', '2.0');
  const Pango = gi.require('Pango', '1.0');
  return { Gtk, Gdk, Gio, Pango };
};

export type Toolkit = ReturnType<typeof load>;

/** The GTK 3 namespaces, with a display opened and our style on it; null where there is none. */
export const openToolkit = (): Toolkit | null => {
  const toolkit = load();
  if (!toolkit.Gtk.initCheck([])[0]) return null;
  // Pango reads the fonts of the system in a thread of its own: begun now, it has them when a text first needs them.
  toolkit.Gdk.pangoContextGet();
  applyStyle(toolkit, STYLE);
  return toolkit;
};

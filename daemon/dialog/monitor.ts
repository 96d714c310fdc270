// The display as far as the window has to know it.
import type { Toolkit } from './gtk.ts';
import type { Area, Point } from './placement.ts';

/** The part of the main monitor that panels leave free; null when there is none. */
export const workArea = ({ Gdk }: Toolkit): Area | null => {
  const display = Gdk.Display.getDefault();
  const monitor = display?.getPrimaryMonitor() ?? display?.getMonitor(0) ?? null;
  if (monitor === null) return null;
  const { x, y, width, height } = monitor.getWorkarea();
  return { x, y, width, height };
};

/** Where the pointer is; null without one. */
export const pointerAt = ({ Gdk }: Toolkit): Point | null => {
  const pointer = Gdk.Display.getDefault()?.getDefaultSeat().getPointer() ?? null;
  if (pointer === null) return null;
  const [, x, y] = pointer.getPosition();
  return { x, y };
};

/** Makes style rules hold for every window of this process. */
export const applyStyle = ({ Gtk, Gdk }: Toolkit, style: string): void => {
  const screen = Gdk.Screen.getDefault();
  if (screen === null) return;
  const provider = new Gtk.CssProvider();
  provider.loadFromData([...Buffer.from(style)]);
  Gtk.StyleContext.addProviderForScreen(screen, provider, Gtk.STYLE_PROVIDER_PRIORITY_APPLICATION);
};

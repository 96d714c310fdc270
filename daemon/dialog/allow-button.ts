// The one button that does harm when the wrong one presses it.
import type { Gate } from './gate.ts';
import type { Toolkit } from './gtk.ts';
import type { Button, Widgets } from './widgets.ts';

/** Calls `press` for clicks that a person made. Keys are the window's business. */
export const allowButton = ({ Gtk, Gdk }: Toolkit, make: Widgets, gate: Gate, press: () => void): Button => {
  const [PASS, STOP] = [false, true];
  // A press is let through only from a device, a release likewise, and a click counts only within such a release.
  let releasedAt: number | null = null;

  const button = make.button('Allow', () => {
    const released = gate.isHandling(Gdk.EventType.BUTTON_RELEASE) && releasedAt === Gtk.getCurrentEventTime();
    // Touch events cannot be sent by another client, so the device is all there is to check.
    const touched = gate.isHandling(Gdk.EventType.TOUCH_END) && gate.mayPass(NOT_SENT);
    releasedAt = null;
    if (released || touched) press();
    // No event at all: the accessibility interface.
    else gate.mayPass(SENT);
  });
  button.on('button-press-event', (event) => (gate.mayPass(event.sendEvent) ? PASS : STOP));
  button.on('button-release-event', (event) => {
    if (!gate.mayPass(event.sendEvent)) return STOP;
    releasedAt = event.time;
    return PASS;
  });
  return button;
};

const NOT_SENT = 0;
const SENT = 1;

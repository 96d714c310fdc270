// The window: widgets, and what may reach them. It decides nothing; it reports a denial or an approval that a person
// gave, and can say at any moment which lines it displays.
import { drawChips } from './chips.ts';
import { letterAttributes } from './colours.ts';
import { ASLEEP, DEAD_MS, isAwake, onFocus, type WakesAt } from './deadtime.ts';
import { isGenuine, type Origin } from './genuine.ts';
import type { Toolkit } from './gtk.ts';
import type { Asked } from './incoming.ts';
import { fits, type Point, placeFor } from './placement.ts';
import { lineOf, type Piece, type Row, rowsOf } from './rows.ts';
import { STYLE } from './style.ts';

const WIDTH = 600;
/** Of the whole window; a theme or font that needs more is refused. */
const MAX_WIDTH = 640;
const NARROW = 1;

export interface Deeds {
  readonly deny: () => void;
  readonly freeze: () => void;
  readonly allow: () => void;
}

export interface Rules {
  /** For tests and the headless demo alone. */
  readonly acceptSynthetic: boolean;
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number;
}

export interface QuestionWindow {
  /** Puts it on the screen. The sentence that says why not, when it does not fit as a whole. */
  readonly show: () => string | null;
  /** The lines as the widgets hold them; null when any of them is not wholly visible. */
  readonly readBack: () => string[] | null;
  readonly countDown: (seconds: number) => void;
  readonly close: () => void;
}

export const questionWindow = (
  toolkit: Toolkit,
  view: Asked['view'],
  { deny, freeze, allow }: Deeds,
  { acceptSynthetic, now }: Rules,
): QuestionWindow => {
  const { Gtk, Gdk, Pango } = toolkit;
  type Widget = InstanceType<typeof Gtk.Widget>;
  type Label = InstanceType<typeof Gtk.Label>;
  const STOP = true;
  const PASS = false;

  let wakesAt: WakesAt = ASLEEP;
  let wakeTimer: NodeJS.Timeout | undefined;
  let sawSynthetic = false;
  let typed = '';

  // ---- the widgets

  const named = <W extends Widget>(widget: W, name: string, ...classes: string[]): W => {
    widget.getAccessible().setName(name);
    for (const one of classes) widget.getStyleContext().addClass(one);
    return widget;
  };

  // setText and attributes given by position: no markup, no mnemonics, nothing that reads the text.
  const label = (piece: Piece, ...classes: string[]): Label => {
    const made = new Gtk.Label({ wrap: true, xalign: 0, yalign: 0, selectable: false });
    made.setUseMarkup(false);
    made.setUseUnderline(false);
    made.setText(piece.text);
    made.setLineWrapMode(Pango.WrapMode.WORD_CHAR);
    // A natural width of next to nothing: the window's width is ours, the height follows from it.
    made.setMaxWidthChars(NARROW);
    made.setHexpand(true);
    if (piece.spans.length > 0) {
      made.setAttributes(Pango.AttrList.fromString(letterAttributes(piece)));
      drawChips(toolkit, made, piece);
    }
    return named(made, piece.text, ...classes);
  };

  const plain = (text: string, ...classes: string[]) => label({ text, spans: [] }, ...classes);

  const box = (orientation: 'HORIZONTAL' | 'VERTICAL', spacing: number, ...classes: string[]) => {
    const made = new Gtk.Box({ orientation: Gtk.Orientation[orientation], spacing });
    for (const one of classes) made.getStyleContext().addClass(one);
    return made;
  };

  const button = (text: string, deed: () => void) => {
    const made = named(Gtk.Button.newWithLabel(text), text);
    made.setUseUnderline(false);
    made.on('clicked', deed);
    return made;
  };

  const shownRows: { readonly row: Row; readonly labels: readonly Label[] }[] = [];
  const body = box('VERTICAL', 12, 'qmcp-body');
  let facts: InstanceType<typeof Gtk.Grid> | null = null;
  for (const row of rowsOf(view)) {
    if (row.kind === 'fact') {
      if (facts === null) {
        facts = new Gtk.Grid({ columnSpacing: 14, rowSpacing: 6 });
        body.packStart(facts, false, false, 0);
      }
      const name = plain(row.pieces[0].text, 'qmcp-fact-name');
      name.setHexpand(false);
      name.setLineWrap(false);
      name.setMaxWidthChars(-1);
      const value = label(row.pieces[1], 'qmcp-fact-value');
      facts.attachNextTo(name, null, Gtk.PositionType.BOTTOM, 1, 1);
      facts.attachNextTo(value, name, Gtk.PositionType.RIGHT, 1, 1);
      shownRows.push({ row, labels: [name, value] });
    } else {
      facts = null;
      const only = label(row.pieces[0], row.kind === 'headline' ? 'qmcp-headline' : 'qmcp-sentence');
      body.packStart(only, false, false, 0);
      shownRows.push({ row, labels: [only] });
    }
  }

  const denyButton = button('Deny', deny);
  const allowButton = button('Allow', onAllowClicked);
  allowButton.setSensitive(false);

  const entry = new Gtk.Entry();
  named(entry, `Type ${view.type_to_confirm ?? ''} to allow`, 'qmcp-entry');
  entry.setActivatesDefault(false);
  entry.dragDestUnset();
  if (view.type_to_confirm !== null) {
    const asking = box('VERTICAL', 6);
    asking.packStart(plain(`To allow, type ${view.type_to_confirm}`, 'qmcp-prompt'), false, false, 0);
    asking.packStart(entry, false, false, 0);
    body.packStart(asking, false, false, 0);
  }

  const countdown = plain('', 'qmcp-countdown');
  countdown.setMaxWidthChars(-1);
  const hint = plain('', 'qmcp-hint');
  const status = box('HORIZONTAL', 14);
  status.packStart(countdown, false, false, 0);
  status.packStart(hint, true, true, 0);
  countdown.setHexpand(false);

  const buttons = box('HORIZONTAL', 10);
  buttons.packEnd(allowButton, false, false, 0);
  buttons.packEnd(denyButton, false, false, 0);
  const freezeButton = view.freeze === undefined ? null : button(`Deny and freeze ${view.freeze}`, freeze);
  if (freezeButton !== null) buttons.packStart(freezeButton, false, false, 0);

  const foot = box('VERTICAL', 12, 'qmcp-foot');
  foot.packStart(status, false, false, 0);
  foot.packStart(buttons, false, false, 0);

  const all = box('VERTICAL', 0);
  all.setSizeRequest(WIDTH, -1);
  all.packStart(named(box('HORIZONTAL', 0), 'Kind of operation', 'qmcp-band', view.risk), false, false, 0);
  all.packStart(body, true, true, 0);
  all.packStart(foot, false, false, 0);

  const window = new Gtk.Window({ type: Gtk.WindowType.TOPLEVEL });
  named(window, view.lines[0] ?? '', 'qmcp-question');
  window.setTitle('qmcp: your decision');
  window.setIconName('dialog-warning');
  window.setTypeHint(Gdk.WindowTypeHint.DIALOG);
  window.setResizable(false);
  window.setPosition(Gtk.WindowPosition.NONE);
  window.setKeepAbove(true);
  window.stick();
  // It asks for attention and waits: whoever is typing a password elsewhere keeps the focus.
  window.setFocusOnMap(false);
  // GTK 3 forgets the hint when it is set before the window is mapped.
  window.on('map-event', () => {
    window.setUrgencyHint(!isActive());
    return PASS;
  });
  window.add(all);
  denyButton.grabFocus();
  denyButton.setCanDefault(true);
  window.setDefault(denyButton);

  // ---- what may reach them

  // The event being handled. send_event is known only to the typed event that a signal hands over.
  const origin = (sent: number): Origin => {
    const device = Gtk.getCurrentEvent()?.getSourceDevice() ?? null;
    if (device === null) return { sent: sent !== 0, source: null };
    const physical = device.getDeviceType() === Gdk.DeviceType.SLAVE;
    return { sent: sent !== 0, source: { name: device.getName(), physical } };
  };

  const mayPass = (sent: number): boolean => {
    if (acceptSynthetic || isGenuine(origin(sent))) return true;
    sawSynthetic = true;
    refresh();
    return false;
  };

  const isHandling = (...types: number[]): boolean => {
    const event = Gtk.getCurrentEvent();
    return event !== null && types.includes(event.getEventType());
  };

  const PRESSING = new Set([Gdk.KEY_space, Gdk.KEY_KP_Space, Gdk.KEY_Return, Gdk.KEY_KP_Enter, Gdk.KEY_ISO_Enter]);
  window.on('key-press-event', (event) => {
    // A denial is safe from whatever it comes.
    if (event.keyval === Gdk.KEY_Escape) {
      deny();
      return STOP;
    }
    if (!mayPass(event.sendEvent)) return STOP;
    if (!PRESSING.has(event.keyval)) return PASS;
    // GTK's own key handling of a button grabs the keyboard for a moment: decide here, before it.
    const focus = window.getFocus();
    if (focus === allowButton) pressAllow();
    else if (focus === freezeButton) freeze();
    else if (focus === entry) return event.keyval === Gdk.KEY_space ? PASS : STOP;
    else if (focus === denyButton) deny();
    else return PASS;
    return STOP;
  });

  window.on('delete-event', () => {
    deny();
    return STOP;
  });

  // A press is let through only from a device, a release likewise, and a click counts only within such a release.
  let releasedAt: number | null = null;
  allowButton.on('button-press-event', (event) => (mayPass(event.sendEvent) ? PASS : STOP));
  allowButton.on('button-release-event', (event) => {
    if (!mayPass(event.sendEvent)) return STOP;
    releasedAt = event.time;
    return PASS;
  });

  function onAllowClicked(): void {
    const released = isHandling(Gdk.EventType.BUTTON_RELEASE) && releasedAt === Gtk.getCurrentEventTime();
    // Touch events cannot be sent by another client, so the device is all there is to check.
    const touched = isHandling(Gdk.EventType.TOUCH_END) && mayPass(0);
    releasedAt = null;
    if (released || touched) pressAllow();
    else mayPass(1);
  }

  function pressAllow(): void {
    if (mayAllow()) allow();
  }

  // Typed means typed: one character per key press. Paste, drop, middle click and anything another program inserts
  // change the text outside a key press or by more than one character, and are undone.
  entry.on('changed', () => {
    const text = entry.getText();
    if (text === typed) return;
    const byKey = acceptSynthetic || isHandling(Gdk.EventType.KEY_PRESS);
    if (byKey && text.length <= typed.length + 1) typed = text;
    else entry.setText(typed);
    refresh();
  });
  // The menu of the entry would grab the pointer, and holds nothing that may be used.
  entry.on('button-press-event', (event) => (event.button === 1 && mayPass(event.sendEvent) ? PASS : STOP));
  entry.on('popup-menu', () => STOP);

  // The generated type takes the property of this name for the method.
  const isActive = (): boolean => (window as unknown as { isActive(): boolean }).isActive();

  window.on('notify::is-active', () => {
    clearTimeout(wakeTimer);
    wakesAt = isActive() ? onFocus(now()) : ASLEEP;
    if (wakesAt !== null) {
      window.setUrgencyHint(false);
      wakeTimer = setTimeout(refresh, DEAD_MS + 1);
    }
    refresh();
  });

  // ---- what they show

  const nameMatches = (): boolean => view.type_to_confirm === null || typed === view.type_to_confirm;
  const mayAllow = (): boolean => isAwake(wakesAt, now()) && isActive() && nameMatches();

  const hintText = (): string => {
    if (sawSynthetic) return 'Input that came from a program was ignored.';
    if (wakesAt === null) return 'Read it first. Click here when you want to answer.';
    if (!isAwake(wakesAt, now())) return 'Read it first. Allow wakes in a moment.';
    return nameMatches() ? '' : 'Allow wakes when the name is typed exactly.';
  };

  function refresh(): void {
    allowButton.setSensitive(mayAllow());
    hint.setText(hintText());
  }

  // ---- the screen

  const workarea = () => {
    const display = Gdk.Display.getDefault();
    const monitor = display?.getPrimaryMonitor() ?? display?.getMonitor(0) ?? null;
    return monitor === null ? null : rectangle(monitor.getWorkarea());
  };

  const rectangle = ({ x, y, width, height }: { x: number; y: number; width: number; height: number }) => ({
    x,
    y,
    width,
    height,
  });

  const pointer = (): Point | null => {
    const device = Gdk.Display.getDefault()?.getDefaultSeat().getPointer() ?? null;
    if (device === null) return null;
    const [, x, y] = device.getPosition();
    return { x, y };
  };

  const show = (): string | null => {
    const screen = Gdk.Screen.getDefault();
    const area = workarea();
    if (screen === null || area === null) return 'There is no monitor.';
    const provider = new Gtk.CssProvider();
    provider.loadFromData([...Buffer.from(STYLE)]);
    Gtk.StyleContext.addProviderForScreen(screen, provider, Gtk.STYLE_PROVIDER_PRIORITY_APPLICATION);
    refresh();
    all.showAll();
    const [, natural] = window.getPreferredSize();
    const size = { width: natural?.width ?? 0, height: natural?.height ?? 0 };
    if (size.width > MAX_WIDTH || !fits(size, area)) {
      return `The question needs ${size.width} x ${size.height} pixels and does not fit the screen.`;
    }
    const { x, y } = placeFor(size, area, pointer());
    window.move(x, y);
    window.show();
    window.setFocusVisible(true);
    return null;
  };

  const isWhole = (one: Label): boolean => {
    const layout = one.getLayout();
    const [, height] = layout.getPixelSize();
    return (
      one.getMapped() &&
      !layout.isEllipsized() &&
      layout.getUnknownGlyphsCount() === 0 &&
      height <= one.getAllocatedHeight()
    );
  };

  return {
    show,
    readBack: () =>
      shownRows.every(({ labels }) => labels.every(isWhole))
        ? shownRows.map(({ labels }) => lineOf(labels.map((one) => one.getText())))
        : null,
    countDown: (seconds) => countdown.setText(`${seconds} s left`),
    close: () => {
      clearTimeout(wakeTimer);
      window.destroy();
    },
  };
};

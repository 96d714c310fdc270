// The window of one question. It decides nothing: it reports a denial or an approval that a person gave, and can say at
// any moment which lines it displays.
import { allowButton } from './allow-button.ts';
import { ASLEEP, DEAD_MS, isAwake, onFocus, type WakesAt } from './deadtime.ts';
import { inputGate } from './gate.ts';
import type { Toolkit } from './gtk.ts';
import type { Asked } from './incoming.ts';
import { pointerAt, workArea } from './monitor.ts';
import { fits, placeFor, type Size } from './placement.ts';
import { type QuestionText, questionText } from './question-text.ts';
import { typedEntry } from './typed-entry.ts';
import { type Widget, widgetsOf } from './widgets.ts';

const WIDTH = 600;
/** Of the whole window; a theme or font that needs more is refused. */
const MAX_WIDTH = 640;

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

export interface QuestionWindow extends Pick<QuestionText, 'readBack'> {
  /** The size that it asks for, in pixels; it need not be on the screen. */
  readonly measure: () => Size;
  /** Puts it on the screen, away from the pointer. The sentence that says why not, when it does not fit as a whole. */
  readonly show: () => string | null;
  /** Takes it off the screen for as long as that is locked; what was typed is forgotten. */
  readonly hide: () => void;
  readonly countDown: (seconds: number) => void;
  readonly close: () => void;
}

export const questionWindow = (
  toolkit: Toolkit,
  view: Asked['view'],
  { deny, freeze, allow }: Deeds,
  { acceptSynthetic, now }: Rules,
): QuestionWindow => {
  const { Gtk, Gdk } = toolkit;
  const [PASS, STOP] = [false, true];
  const make = widgetsOf(toolkit);

  let wakesAt: WakesAt = ASLEEP;
  let wakeTimer: NodeJS.Timeout | undefined;
  let sawSynthetic = false;

  const gate = inputGate(toolkit, acceptSynthetic, () => {
    sawSynthetic = true;
    refresh();
  });

  // ---- from top to bottom

  const body = make.column(12, 'qmcp-body');
  const text = questionText(toolkit, make, view, body);

  const nameToType = view.type_to_confirm;
  const entry = typedEntry(toolkit, make, gate, `Type ${nameToType ?? ''} to allow`, () => refresh());
  if (nameToType !== null) {
    const asking = make.column(6);
    asking.packStart(make.label({ text: `To allow, type ${nameToType}`, spans: [] }, 'qmcp-prompt'), false, false, 0);
    asking.packStart(entry.widget, false, false, 0);
    body.packStart(asking, false, false, 0);
  }

  const countdown = make.tag('', 'qmcp-countdown');
  const hint = make.label({ text: '', spans: [] }, 'qmcp-hint');
  const status = make.row(14);
  status.packStart(countdown, false, false, 0);
  status.packStart(hint, true, true, 0);

  const denyButton = make.button('Deny', deny);
  const allowing = allowButton(toolkit, make, gate, pressAllow);
  const freezing = view.freeze === undefined ? null : make.button(`Deny and freeze ${view.freeze}`, freeze);
  const buttons = make.row(10);
  buttons.packEnd(allowing, false, false, 0);
  buttons.packEnd(denyButton, false, false, 0);
  if (freezing !== null) buttons.packStart(freezing, false, false, 0);

  const foot = make.column(12, 'qmcp-foot');
  foot.packStart(status, false, false, 0);
  foot.packStart(buttons, false, false, 0);

  const all = make.column(0);
  all.setSizeRequest(WIDTH, -1);
  all.packStart(make.row(0, 'qmcp-band', view.risk), false, false, 0);
  all.packStart(body, true, true, 0);
  all.packStart(foot, false, false, 0);

  const window = make.named(new Gtk.Window({ type: Gtk.WindowType.TOPLEVEL }), view.lines[0] ?? '', 'qmcp-question');
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
  denyButton.setCanDefault(true);
  window.setDefault(denyButton);
  denyButton.grabFocus();

  // ---- what may reach it

  const PRESSING = new Set([Gdk.KEY_space, Gdk.KEY_KP_Space, Gdk.KEY_Return, Gdk.KEY_KP_Enter, Gdk.KEY_ISO_Enter]);
  const pressed = new Map<Widget, () => void>([
    [denyButton, deny],
    [allowing, pressAllow],
  ]);
  if (freezing !== null) pressed.set(freezing, freeze);

  window.on('key-press-event', (event) => {
    // A denial is safe from whatever it comes.
    if (event.keyval === Gdk.KEY_Escape) {
      deny();
      return STOP;
    }
    if (!gate.mayPass(event.sendEvent)) return STOP;
    if (!PRESSING.has(event.keyval)) return PASS;
    const focus = window.getFocus();
    // A space belongs into the entry, where it makes the name wrong; Return there does nothing.
    if (focus === entry.widget) return event.keyval === Gdk.KEY_space ? PASS : STOP;
    // GTK's own handling of keys on a button grabs the keyboard for a moment: act here, before it.
    if (focus !== null) pressed.get(focus)?.();
    return STOP;
  });

  window.on('delete-event', () => {
    deny();
    return STOP;
  });

  // The generated type takes the property of this name for the method.
  const isActive = (): boolean => (window as unknown as { isActive(): boolean }).isActive();
  window.on('notify::is-active', () => {
    clearTimeout(wakeTimer);
    wakesAt = isActive() ? onFocus(now()) : ASLEEP;
    if (wakesAt !== ASLEEP) {
      window.setUrgencyHint(false);
      wakeTimer = setTimeout(refresh, DEAD_MS + 1);
    }
    refresh();
  });

  function pressAllow(): void {
    if (mayAllow()) allow();
  }

  // ---- what it shows

  const nameMatches = (): boolean => nameToType === null || entry.text() === nameToType;
  const mayAllow = (): boolean => isAwake(wakesAt, now()) && isActive() && nameMatches();

  const hintText = (): string => {
    if (sawSynthetic) return 'Input that came from a program was ignored.';
    if (wakesAt === ASLEEP) return 'Read it first. Click here when you want to answer.';
    if (!isAwake(wakesAt, now())) return 'Read it first. Allow wakes in a moment.';
    return nameMatches() ? '' : 'Allow wakes when the name is typed exactly.';
  };

  function refresh(): void {
    allowing.setSensitive(mayAllow());
    hint.setText(hintText());
  }

  const naturalSize = (): Size => {
    const [, natural] = window.getPreferredSize();
    return { width: natural?.width ?? 0, height: natural?.height ?? 0 };
  };

  // A long name or a large font: the buttons below each other instead of beside.
  let stacked = false;
  const stackButtons = (): void => {
    if (freezing === null || stacked) return;
    stacked = true;
    buttons.remove(freezing);
    const above = make.row(0);
    above.packStart(freezing, false, false, 0);
    above.showAll();
    foot.packStart(above, false, false, 0);
    foot.reorderChild(above, 1);
  };

  refresh();
  all.showAll();

  return {
    readBack: text.readBack,
    measure: naturalSize,
    show: () => {
      const area = workArea(toolkit);
      if (area === null) return 'There is no monitor.';
      if (naturalSize().width > WIDTH) stackButtons();
      if (!fits(naturalSize(), area)) {
        window.getStyleContext().addClass('dense');
        text.tighten();
      }
      const size = naturalSize();
      if (size.width > MAX_WIDTH || !fits(size, area)) {
        return `The question needs ${size.width} x ${size.height} pixels and does not fit the screen.`;
      }
      const { x, y } = placeFor(size, area, pointerAt(toolkit));
      window.move(x, y);
      window.show();
      window.setFocusVisible(true);
      return null;
    },
    hide: () => {
      entry.clear();
      denyButton.grabFocus();
      window.hide();
    },
    countDown: (seconds) => countdown.setText(`${seconds} s left`),
    close: () => {
      clearTimeout(wakeTimer);
      window.destroy();
      Gdk.Display.getDefault()?.sync();
    },
  };
};

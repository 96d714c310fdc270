// Runs inside the process of a window, built by inside.test.ts: reports its widgets, waits until Allow is awake, then
// does what an accessibility client or code injected into the process would do, and reports what came of it.

import { openToolkit } from '../../daemon/dialog/gtk.ts';
import { readQuestion } from '../../daemon/dialog/incoming.ts';
import { questionWindow } from '../../daemon/dialog/window.ts';

const report = (what: object): boolean => process.stdout.write(`${JSON.stringify(what)}\n`);

const read = readQuestion(Buffer.from(process.env.QUESTION ?? ''));
if ('refused' in read) throw new Error(read.refused);
const toolkit = openToolkit();
if (toolkit === null) throw new Error('no display');
const { Gtk } = toolkit;

const done = { allow: 0, deny: 0, freeze: 0 };
const window = questionWindow(
  toolkit,
  read.asked.view,
  { allow: () => done.allow++, deny: () => done.deny++, freeze: () => done.freeze++ },
  { acceptSynthetic: false, now: () => performance.now() },
);
const before = window.readBack();
window.show();
window.hide();
const hidden = window.readBack();
const problem = window.show();
if (problem !== null) throw new Error(problem);

type Widget = InstanceType<typeof Gtk.Widget>;
const below = (widget: Widget): Widget[] =>
  widget instanceof Gtk.Container ? [widget, ...widget.getChildren().flatMap(below)] : [widget];
const widgets = Gtk.Window.listToplevels().flatMap(below);
const buttons = widgets.filter((widget) => widget instanceof Gtk.Button);
const entry = widgets.find((widget) => widget instanceof Gtk.Entry);
const button = (label: string) => buttons.find((one) => one.getLabel() === label);

entry?.setText('ai-work');
report({
  before,
  hidden,
  lines: window.readBack(),
  typedByProgram: entry?.getText() ?? null,
  controls: [...buttons, ...(entry ? [entry] : [])].map((one) => ({
    label: one instanceof Gtk.Button ? one.getLabel() : null,
    name: one.getAccessible().accessibleName,
    focusable: one.getCanFocus(),
    mnemonic: one instanceof Gtk.Button && one.getUseUnderline(),
  })),
  labels: widgets
    .filter((widget) => widget instanceof Gtk.Label)
    .map((one) => ({ text: one.getText(), markup: one.getUseMarkup(), selectable: one.getSelectable() })),
});

const waiting = setInterval(() => {
  const allow = button('Allow');
  const deny = button('Deny');
  if (!allow?.getSensitive() || !deny) return;
  clearInterval(waiting);
  allow.clicked();
  allow.activate();
  // The action of the accessible object, as an accessibility client has it done.
  const accessible = allow.getAccessible() as unknown as { doAction?: (index: number) => boolean };
  accessible.doAction?.(0);
  setTimeout(() => {
    report(done);
    deny.clicked();
    report(done);
    process.exit(0);
  }, 600);
}, 50);

Gtk.main();

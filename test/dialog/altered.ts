// The dialog as it is, but for one label that something in its process changes behind its back; built by altered.test.ts. Then
// Deny is pressed, as a person would, or the process is told to end.
import { answerOneQuestion } from '../../daemon/dialog/dialog.ts';
import { openToolkit } from '../../daemon/dialog/gtk.ts';
import { loadSeed } from '../../daemon/dialog/key.ts';

const [before = '', after = ''] = process.argv.slice(2);
const toolkit = openToolkit();
if (toolkit === null) throw new Error('no display');
const { Gtk } = toolkit;

const setting = {
  connection: 3,
  seed: loadSeed(process.env.KEY ?? ''),
  acceptSynthetic: false,
  display: process.env.DISPLAY ?? '',
  lock: { watch: (_: unknown, tell: (locked: boolean) => void) => tell(false), stop: () => {} },
  uid: process.getuid?.() ?? 0,
  now: () => performance.now(),
};
answerOneQuestion(toolkit, setting, (problem) => {
  process.stdout.write(`${problem}\n`);
  process.exit(0);
});

type Widget = InstanceType<typeof Gtk.Widget>;
const below = (widget: Widget): Widget[] =>
  widget instanceof Gtk.Container ? [widget, ...widget.getChildren().flatMap(below)] : [widget];

const looking = setInterval(() => {
  const widgets = Gtk.Window.listToplevels().flatMap(below);
  const label = widgets.find((one) => one instanceof Gtk.Label && one.getText() === before);
  const deny = widgets.find((one) => one instanceof Gtk.Button && one.getLabel() === 'Deny');
  if (!(label instanceof Gtk.Label) || !label.getMapped() || !(deny instanceof Gtk.Button)) return;
  clearInterval(looking);
  if (after === 'HIDE') label.hide();
  else label.setText(after);
  setTimeout(() => deny.clicked(), 200);
}, 50);

Gtk.main();

// Hostile text: whatever reaches the dialog is either shown exactly as it is or not shown at all.
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { View } from '../../daemon/confirm/question.ts';
import { readQuestion } from '../../daemon/dialog/incoming.ts';
import type { QubeName } from '../../daemon/names.ts';
import { Screen } from '../end-to-end/screen.ts';
import { type Dialog, question, REMOVE, startDialog } from './asking.ts';

let screen: Screen;
let dialog: Dialog;
beforeAll(async () => {
  screen = await Screen.start();
  dialog = await startDialog(screen.env, true);
});
afterAll(async () => {
  await dialog?.stop();
  await screen?.stop();
});

const HIDDEN = [
  ...'\u00ad\u034f\u061c\u115f\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u3164\ufe0f\ufeff\uffa0',
];
const CONTROLS = Array.from({ length: 33 }, (_, code) => String.fromCharCode(code === 32 ? 0x7f : code));
const C1 = Array.from({ length: 32 }, (_, code) => String.fromCharCode(0x80 + code));
const LOOK_ALIKES = [
  ...'\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0131\u01c0\u2010\u2011\u2212\uff41\uff0d\u{1d41a}\u0391\u039f\u13aa',
];
const SPACES = [...'\u00a0\u1680\u2000\u2003\u2007\u2009\u200a\u202f\u205f\u3000'];
const BAD = [...HIDDEN, ...CONTROLS, ...C1, ...LOOK_ALIKES, ...SPACES];

const HARMLESS = 'Nothing of value is touched';
const places = [
  (bad: string) => `${bad}${HARMLESS}`,
  (bad: string) => `${HARMLESS}${bad}`,
  (bad: string) => `Nothing${bad}of value`,
  (bad: string) => `Qube: ai-${bad}work (red)`,
];

const read = (view: View) => readQuestion(Buffer.from(JSON.stringify(question(view))));

test(`none of ${BAD.length * places.length} texts with a character that is not plainly printable is shown`, () => {
  for (const bad of BAD) {
    for (const place of places) {
      const text = place(bad);
      expect(read({ ...REMOVE, lines: [...REMOVE.lines, text] }), JSON.stringify(text)).toHaveProperty('refused');
      expect(read({ ...REMOVE, lines: [text], marks: [] }), JSON.stringify(text)).toHaveProperty('refused');
    }
  }
});

test('no mark colours anything but a whole qube name, wherever it lies', () => {
  const line = REMOVE.lines[0] as string;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 40 }), (start, end) => {
      const marks = [{ line: 0, start, end, label: 'green' as const }];
      return 'refused' in read({ ...REMOVE, marks }) || /^[A-Za-z][\w.-]*$/.test(line.slice(start, end));
    }),
  );
});

test('the name to type is one that the question shows', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/), (name) => {
      const got = read({ ...REMOVE, type_to_confirm: name as QubeName });
      return 'refused' in got || REMOVE.lines.some((line) => line.includes(name));
    }),
  );
});

// Text that means something to a toolkit, a shell, a format or a reader, and must come out as itself.
const IMITATIONS = [
  '<span foreground="white">hidden</span>',
  '<b>Deny</b> <!-- nothing -->',
  '&lt;b&gt; &amp;amp; &#x202e;',
  '_Allow _Deny __x',
  '%s %n %1$s %%',
  '$HOME $(id) `id` \\n \\u202e \\x00',
  'To allow, type ai-other',
  '60 s left',
  'Allow Deny',
  'Asked by: you',
  'Asked by: dom0 (black), the operator',
  'Note: : : a: b: c',
  'Name: "quoted" \'quoted\' |pipe| {json} [list]',
  'Step 3, more: Remove ai-other (green)',
  `Long: ${'W'.repeat(200)}`,
  `Long: ${'i '.repeat(110).trim()}`,
  '-'.repeat(200),
  '.'.repeat(200),
  'A:B: C',
  'Z: z',
];

test.each(IMITATIONS.map((text) => [text] as const))('%j is shown as these letters and nothing else', async (text) => {
  const view = { ...REMOVE, lines: [...REMOVE.lines, text] };
  const { heard } = dialog.ask(question(view));
  const window = await screen.window();
  process.kill(window.pid, 'SIGTERM');
  // The broker takes a denial only over exactly the lines it sent, and the window signs only what its widgets hold.
  expect(await heard).toBe('denied');
  await window.gone();
});

test('a plan cannot bury a removal: what is more than fits is not shown at all', async () => {
  const steps = Array.from({ length: 70 }, (_, index) => `Step ${index + 2}: Start ai-work (red)`);
  const lines = ['Run a plan of 71 steps', ...steps, 'Step 1: Remove ai-work (red) and all its files'];
  screen.mostOpen = 0;
  const { heard } = dialog.ask(question({ ...REMOVE, lines, marks: [] }));
  expect(await heard).toBe('nothing');
  expect(screen.mostOpen).toBe(0);
});

test('hundreds of random questions are shown as they are or not at all', async () => {
  const piece = fc.oneof(
    fc.constantFrom(...IMITATIONS),
    fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/),
    fc.constantFrom(...BAD).map((bad) => `x${bad}y`),
  );
  const samples = fc.sample(fc.array(piece, { minLength: 1, maxLength: 8 }), { numRuns: 300, seed: 20_260_101 });
  let [shown, refused] = [0, 0];
  for (const lines of samples) {
    const got = read({ ...REMOVE, lines: [...REMOVE.lines, ...lines] });
    if ('refused' in got) refused += 1;
    else {
      shown += 1;
      expect(got.asked.view.lines.slice(REMOVE.lines.length)).toEqual(lines);
      for (const line of lines) expect(BAD.some((bad) => line.includes(bad))).toBe(false);
    }
  }
  expect(Math.min(shown, refused)).toBeGreaterThan(20);
});

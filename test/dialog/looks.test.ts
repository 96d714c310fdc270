// The window on desktops with other settings: whole, at most 640 pixels wide, and able to be answered.
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { reasonNotToShow } from '../../daemon/dialog/displayable.ts';
import { Screen } from '../end-to-end/screen.ts';
import { EXTREMES, REMOVAL } from '../gallery/extremes.ts';
import { type Dialog, question, START, startDialog } from './asking.ts';

const MAX_WIDTH = 640;

let screen: Screen;
beforeAll(async () => {
  screen = await Screen.start({ width: 1920, height: 1200 });
});
afterAll(() => screen?.stop());

const sizeOf = async (id: string): Promise<{ width: number; height: number }> => {
  const shape = await screen.hands('getwindowgeometry', '--shell', id);
  const [width = 0, height = 0] = ['WIDTH', 'HEIGHT'].map((name) =>
    Number(new RegExp(`^${name}=(\\d+)$`, 'm').exec(shape)?.[1]),
  );
  return { width, height };
};

const shows = async (dialog: Dialog, view: Parameters<typeof question>[0]) => {
  const { heard } = dialog.ask(question(view));
  const window = await screen.window();
  const size = await sizeOf(window.id);
  await window.focus();
  await window.press('Escape');
  // A signed denial: the lines that were read back are the lines of the question, none of them cut.
  expect(await heard).toBe('denied');
  await window.gone();
  return size;
};

const QUESTIONS = [{ title: 'a removal', view: REMOVAL }, ...EXTREMES];
const LONGEST = 'plan of ten steps';

describe.each<[string, NodeJS.ProcessEnv, number, boolean]>([
  ['a light theme', { GTK_THEME: 'Adwaita' }, 1, true],
  ['a dark theme', { GTK_THEME: 'Adwaita:dark' }, 1, true],
  ['high contrast', { GTK_THEME: 'HighContrast' }, 1, true],
  ['fonts half as large again', { GDK_DPI_SCALE: '1.5' }, 1, false],
  ['every pixel twice', { GDK_SCALE: '2' }, 2, false],
])('with %s', (_, settings, scale, hasRoom) => {
  let dialog: Dialog;
  beforeAll(async () => {
    dialog = await startDialog({ ...screen.env, ...settings }, true);
  });
  afterAll(() => dialog?.stop());

  const fitting = QUESTIONS.filter(({ title }) => hasRoom || title !== LONGEST);
  test.each(fitting)('$title is shown whole and not wider than it may be', async ({ view }) => {
    const { width } = await shows(dialog, view);
    expect(width).toBeLessThanOrEqual(MAX_WIDTH * scale);
    expect(width).toBeGreaterThan(500 * scale);
  });

  const others = QUESTIONS.filter((one) => !fitting.includes(one));
  if (others.length > 0)
    test.each(others)('$title is refused', async ({ view }) => {
      expect(await dialog.ask(question(view)).heard).toBe('nothing');
      await expect.poll(() => dialog.complaints.at(-1)).toContain('does not fit the screen');
    });
});

test('a question that is too high closes up before it is refused', async () => {
  const small = await Screen.start({ width: 800, height: 600 });
  const dialog = await startDialog(small.env, true);
  onTestFinished(async () => {
    await dialog.stop();
    await small.stop();
  });
  const heightFor = async (lines: number): Promise<number | null> => {
    const view = {
      ...START,
      lines: Array.from({ length: lines }, (_, index) => `Sentence ${index} of a long question.`),
    };
    const { heard, socket } = dialog.ask(question(view));
    const window = small.window();
    const shown = await Promise.race([window, heard]);
    if (typeof shown === 'string') {
      void window.catch(() => {});
      return null;
    }
    const height = Number(/^HEIGHT=(\d+)$/m.exec(await small.hands('getwindowgeometry', '--shell', shown.id))?.[1]);
    socket.destroy();
    await shown.gone();
    return height;
  };
  const heights: number[] = [];
  for (let lines = 8; ; lines += 2) {
    const height = await heightFor(lines);
    if (height === null) break;
    heights.push(height);
  }
  expect(Math.max(...heights)).toBeLessThanOrEqual(600 - 48);
  // Somewhere on the way more lines took less room.
  expect(heights.some((height, index) => index > 0 && height < (heights[index - 1] as number))).toBe(true);
  await expect.poll(() => dialog.complaints.at(-1)).toContain('does not fit the screen');
});

test('the questions of the gallery are ones that may be shown', () => {
  for (const { view } of QUESTIONS) expect(reasonNotToShow(view.lines)).toBeNull();
});

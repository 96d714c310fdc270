// Input from real devices is accepted, without any flag: Xephyr is a display whose devices are another display's input,
// so what xdotool does outside comes out of a keyboard and a mouse inside.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { DEAD_MS } from '../../daemon/dialog/deadtime.ts';
import { Screen } from '../end-to-end/screen.ts';
import { type Dialog, question, REMOVE, START, startDialog, TARGET } from './asking.ts';

const run = promisify(execFile);
const SIZE = '900x700';
const ALLOW = { right: 78, bottom: 34 };

let outside: Screen;
let xephyr: ChildProcess;
let manager: ChildProcess;
let inside: NodeJS.ProcessEnv;
let glass: string;
let dialog: Dialog;

beforeAll(async () => {
  outside = await Screen.start();
  xephyr = spawn('Xephyr', ['-displayfd', '3', '-screen', SIZE, '-no-host-grab'], {
    env: outside.env,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const [number] = await once(xephyr.stdio[3] as NodeJS.ReadableStream, 'data');
  inside = { ...outside.env, DISPLAY: `:${String(number).trim()}` };
  await outside.until(() => outside.windows.length === 1, 'the window of Xephyr');
  glass = outside.windows[0] as string;
  await outside.hands('windowactivate', '--sync', glass);
  manager = spawn('openbox', ['--sm-disable'], { env: inside, stdio: 'ignore' });
  dialog = await startDialog(inside, false);
});
afterAll(async () => {
  await dialog?.stop();
  manager?.kill();
  xephyr?.kill();
  await outside?.stop();
});

const onInside = async (...args: string[]): Promise<string> =>
  (await run('xdotool', args, { env: inside, timeout: 10_000 })).stdout.trim();

/** The window of the question. A search dies of any other window that closes under its eyes, and is then made again. */
const questionWindow = async (): Promise<string> => {
  for (;;) {
    try {
      return await onInside('search', '--sync', '--onlyvisible', '--name', '^qmcp: your decision$');
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('BadWindow'))) throw error;
    }
  }
};

/** A question on the inner display; its hands are on the outer one. */
const shown = async (asked = question(START)) => {
  const open = dialog.ask(asked);
  onTestFinished(() => void open.socket.destroy());
  const id = await questionWindow();
  const shape = await onInside('getwindowgeometry', '--shell', id);
  const [width = 0, height = 0] = ['WIDTH', 'HEIGHT'].map((name) =>
    Number(new RegExp(`^${name}=(\\d+)$`, 'm').exec(shape)?.[1]),
  );
  // xdotool counts the frame twice in a position; a place relative to the window does not need it.
  const place = await run('xwininfo', ['-id', id], { env: inside });
  const [left = 0, top = 0] = ['X', 'Y'].map((name) =>
    Number(new RegExp(`Absolute upper-left ${name}: +(\\d+)`).exec(place.stdout)?.[1]),
  );
  const click = (x: number, y: number) =>
    outside.hands('mousemove', '--window', glass, String(left + x), String(top + y), 'click', '1');
  return {
    ...open,
    id,
    click,
    clickAllow: () => click(width - ALLOW.right, height - ALLOW.bottom),
    clickHeadline: () => click(40, 30),
    keys: (...keys: string[]) => outside.hands('key', ...keys),
    type: (text: string) => outside.hands('type', '--delay', '5', text),
  };
};

const deadTime = () => new Promise((resolve) => setTimeout(resolve, DEAD_MS + 200));

test('a mouse and a keyboard can approve', async () => {
  const { heard, clickHeadline, clickAllow, keys, type } = await shown(question(REMOVE));
  await clickHeadline();
  await keys('Tab');
  await type(TARGET);
  await deadTime();
  await clickAllow();
  expect(await heard).toBe('approved');
});

test('a keyboard alone can approve', async () => {
  const { heard, clickHeadline, keys } = await shown();
  await clickHeadline();
  await deadTime();
  await keys('Tab', 'space');
  expect(await heard).toBe('approved');
});

test('a keyboard can deny', async () => {
  const { heard, clickHeadline, keys } = await shown();
  await clickHeadline();
  await keys('Return');
  expect(await heard).toBe('denied');
});

test('on the same display XTEST still cannot approve, between two acts of a person', async () => {
  const { id, heard, clickHeadline, clickAllow } = await shown();
  await clickHeadline();
  await deadTime();
  await onInside('key', 'Tab', 'space');
  const [x, y] = [522, 0];
  const shape = await onInside('getwindowgeometry', '--shell', id);
  const height = Number(/^HEIGHT=(\d+)$/m.exec(shape)?.[1]);
  await onInside('mousemove', '--window', id, String(x), String(y + height - ALLOW.bottom), 'click', '1');
  let result = 'no answer yet';
  void heard.then((what) => {
    result = what;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(result).toBe('no answer yet');
  await clickAllow();
  expect(await heard).toBe('approved');
});

// Who may press Allow: a person's devices and nothing else. Each kind of imitation is shown to work where it is let
// (--accept-synthetic-input), so that its failure where it is not means something.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { DEAD_MS } from '../../daemon/dialog/deadtime.ts';
import { Screen } from '../end-to-end/screen.ts';
import { type Asked, type Dialog, question, REMOVE, START, startDialog } from './asking.ts';

const run = promisify(execFile);
const SEND = fileURLToPath(new URL('send-event.py', import.meta.url));

let screen: Screen;
let strict: Dialog;
let lenient: Dialog;

beforeAll(async () => {
  screen = await Screen.start();
  strict = await startDialog(screen.env, false);
  lenient = await startDialog(screen.env, true);
});
afterAll(async () => {
  await strict?.stop();
  await lenient?.stop();
  await screen?.stop();
});

const shown = async (dialog: Dialog, asked = question(START)) => {
  const open = dialog.ask(asked);
  onTestFinished(async () => {
    open.socket.destroy();
    await screen.until(() => screen.windows.length === 0, 'an empty screen');
  });
  return { ...open, window: await screen.window() };
};

const send = (window: string, ...what: string[]) =>
  run('/usr/bin/python3', [SEND, window, ...what], { env: screen.env });

/** What came back, or that nothing did although all that was sent has been seen. */
const soFar = async ({ heard }: Asked): Promise<string> => {
  let result = 'no answer yet';
  void heard.then((what) => {
    result = what;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  return result;
};

describe.each([
  [
    'XTEST',
    async (x: number, y: number, window: string) => {
      await screen.hands('mousemove', '--window', window, String(x), String(y), 'click', '1');
    },
  ],
  [
    'XSendEvent',
    async (x: number, y: number, window: string) => {
      await send(window, 'click', String(x), String(y));
    },
  ],
])('a click made with %s', (_, click) => {
  const clickAllow = async (window: { id: string }) => {
    const shape = await screen.hands('getwindowgeometry', '--shell', window.id);
    const [, height] = /HEIGHT=(\d+)/.exec(shape) ?? [];
    await click(522, Number(height) - 34, window.id);
  };

  test('presses Allow where synthetic input is let', async () => {
    const { window, ...asked } = await shown(lenient);
    await window.focus();
    await window.untilAllowIs('awake');
    await clickAllow(window);
    expect(await asked.heard).toBe('approved');
  });

  test('does not press it otherwise, and the window says so', async () => {
    const { window, ...asked } = await shown(strict);
    await window.focus();
    await window.untilAllowIs('awake');
    const before = await screen.eyes('-silent', '-window', window.id, '-crop', '420x20+100+150', 'gray:-');
    await clickAllow(window);
    expect(await soFar(asked)).toBe('no answer yet');
    const after = await screen.eyes('-silent', '-window', window.id, '-crop', '420x20+100+150', 'gray:-');
    expect(after.equals(before)).toBe(false);
  });
});

describe.each([
  [
    'XTEST',
    async (keys: string[]) => {
      await screen.hands('key', ...keys);
    },
  ],
  [
    'XSendEvent',
    async (keys: string[], window: string) => {
      await send(window, 'key', ...keys);
    },
  ],
])('keys made with %s', (_, press) => {
  const NAME = ['a', 'i', 'minus', 'w', 'o', 'r', 'k'];

  test('press Allow where synthetic input is let', async () => {
    const { window, ...asked } = await shown(lenient);
    await window.focus();
    await window.untilAllowIs('awake');
    await press(['Tab'], window.id);
    await press(['space'], window.id);
    expect(await asked.heard).toBe('approved');
  });

  test('do not press it otherwise', async () => {
    const { window, ...asked } = await shown(strict);
    await window.focus();
    await window.untilAllowIs('awake');
    await press(['Tab'], window.id);
    await press(['space'], window.id);
    await press(['Return'], window.id);
    expect(await soFar(asked)).toBe('no answer yet');
    expect(window.isOpen).toBe(true);
  });

  test('type the name where synthetic input is let, and not otherwise', async () => {
    for (const [dialog, state] of [
      [lenient, 'awake'],
      [strict, 'asleep'],
    ] as const) {
      const { window, socket } = await shown(dialog, question(REMOVE));
      await window.focus();
      await press(['Tab'], window.id);
      // The entry may also have been reached by a click.
      await screen.hands('mousemove', '--window', window.id, '300', '196', 'click', '1');
      await press(NAME, window.id);
      await new Promise((resolve) => setTimeout(resolve, DEAD_MS));
      expect(await window.allowLooksAwake()).toBe(state === 'awake');
      socket.destroy();
      await window.gone();
    }
  });

  test('may deny: a no is safe from whoever it comes', async () => {
    const { window, ...asked } = await shown(strict);
    await window.focus();
    await press(['Escape'], window.id);
    expect(await asked.heard).toBe('denied');
  });
});

test('a click made with XTEST on Deny is a no', async () => {
  const { window, ...asked } = await shown(strict, question(REMOVE));
  await window.focus();
  await window.clickDeny();
  expect(await asked.heard).toBe('denied');
});

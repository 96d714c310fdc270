// The real window, built, on a screen of its own; xdotool is the person, and --accept-synthetic-input lets it be one.
// What happens without that flag is in synthetic.test.ts.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { DEAD_MS } from '../../daemon/dialog/deadtime.ts';
import type { QubeName } from '../../daemon/names.ts';
import { type QuestionWindow, Screen } from '../end-to-end/screen.ts';
import { type Asked, type Dialog, question, REMOVE, START, startDialog, TARGET } from './asking.ts';

const run = promisify(execFile);
const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

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
beforeEach(async () => {
  await screen.hands('mousemove', '1', '1');
  await screen.until(() => screen.windows.length === 0, 'an empty screen');
});

const shown = async (asked = question()): Promise<Asked & { window: QuestionWindow }> => {
  const open = dialog.ask(asked);
  onTestFinished(() => void open.socket.destroy());
  return { ...open, window: await screen.window() };
};

/** A window of another program, as a person has many; it has the focus when this resolves. */
const otherWindow = async (): Promise<{ id: string; program: ChildProcess }> => {
  const program = spawn('xev', ['-geometry', '200x100+20+600', '-event', 'keyboard'], {
    env: screen.env,
    stdio: 'ignore',
  });
  onTestFinished(() => void program.kill());
  await screen.until(() => screen.windows.length === 1, 'the other window');
  const id = screen.windows[0] as string;
  await screen.hands('windowactivate', id);
  await screen.until(() => screen.active === id, 'the focus on the other window');
  return { id, program };
};

/** What a click on the cross of the frame, or an entry of a task list, makes of a window. */
const closeByManager = (id: string) =>
  run('/usr/bin/python3', [file('send-event.py'), id, 'close'], { env: screen.env });

/** The middle of the entry is this far above the lower edge of the window, in pixels. */
const ENTRY_ABOVE = 131;

const clickEntry = async ({ id }: QuestionWindow, mouseButton: 1 | 2 | 3): Promise<void> => {
  const height = Number(/^HEIGHT=(\d+)$/m.exec(await screen.hands('getwindowgeometry', '--shell', id))?.[1]);
  await screen.hands('mousemove', '--window', id, '300', String(height - ENTRY_ABOVE), 'click', String(mouseButton));
};

const complained = (text: string): Promise<void> => expect.poll(() => dialog.complaints.at(-1)).toContain(text);

describe('allowing', () => {
  test('takes the typed name and Allow, and signs what the window displays', async () => {
    const { window, heard } = await shown();
    await window.focus();
    await window.type(TARGET);
    await window.untilAllowIs('awake');
    await window.clickAllow();
    expect(await heard).toBe('approved');
    await window.gone();
  });

  test('can be done by clicking on the entry first', async () => {
    const { window, heard } = await shown();
    await window.focus();
    await clickEntry(window, 1);
    await window.typeOn(TARGET);
    await window.untilAllowIs('awake');
    await window.clickAllow();
    expect(await heard).toBe('approved');
  });

  test('can be done with the keyboard alone', async () => {
    const { window, heard } = await shown();
    await window.focus();
    await window.type(TARGET);
    await window.untilAllowIs('awake');
    await window.press('Tab', 'Tab', 'space');
    expect(await heard).toBe('approved');
  });

  test('takes Allow alone where nothing is to be typed', async () => {
    const { window, heard } = await shown(question(START));
    await window.focus();
    await window.untilAllowIs('awake');
    await window.clickAllow();
    expect(await heard).toBe('approved');
  });

  test('needs exactly the name: not a part, not more, no other case, no spaces around it', async () => {
    const { window, heard } = await shown();
    await window.focus();
    await window.type(TARGET);
    await window.untilAllowIs('awake');
    for (const wrong of ['ai-wor', 'ai-works', 'AI-WORK', 'ai-work ', ' ai-work', 'ai_work', '']) {
      await window.press('ctrl+a', 'BackSpace');
      await window.typeOn(wrong);
      await window.untilAllowIs('asleep');
      await window.clickAllow();
      await window.press('Return');
    }
    expect(window.isOpen).toBe(true);
    await window.press('ctrl+a', 'BackSpace');
    await window.typeOn(TARGET);
    await window.untilAllowIs('awake');
    await window.clickDeny();
    expect(await heard).toBe('denied');
  });

  test('cannot be done by pasting the name', async () => {
    const name = 'abab' as QubeName;
    const view = { ...REMOVE, lines: [`Remove ${name} (red)`], marks: [], type_to_confirm: name };
    const { window, heard } = await shown(question(view));
    await window.focus();
    await window.type('ab');
    await window.press('ctrl+a', 'ctrl+c', 'End', 'ctrl+v');
    await window.press('ctrl+a', 'ctrl+c', 'End', 'shift+Insert');
    await window.press('ctrl+a');
    await clickEntry(window, 2);
    await new Promise((resolve) => setTimeout(resolve, DEAD_MS));
    expect(await window.allowLooksAwake()).toBe(false);
    await window.press('End');
    // What has the focus and how long it had it would allow; the text does not.
    await window.typeOn('ab');
    await window.untilAllowIs('awake');
    await window.press('ctrl+a', 'ctrl+c', 'BackSpace', 'ctrl+v');
    await window.untilAllowIs('asleep');
    await window.press('Escape');
    expect(await heard).toBe('denied');
  });
});

describe('denying', () => {
  test.each<[string, (window: QuestionWindow) => Promise<unknown>]>([
    ['Deny', (window) => window.clickDeny()],
    ['Escape', (window) => window.press('Escape')],
    ['Return, because Deny has the focus at first', (window) => window.press('Return')],
    ['the space bar, for the same reason', (window) => window.press('space')],
    ['Alt-F4', (window) => window.press('alt+F4')],
    ['closing the window', (window) => closeByManager(window.id)],
    ['SIGTERM', async (window) => process.kill(window.pid, 'SIGTERM')],
  ])('is done by %s', async (_, deny) => {
    const { window, heard } = await shown();
    await window.focus();
    await deny(window);
    expect(await heard).toBe('denied');
    await window.gone();
  });

  test('is done by Escape from within the entry, also when the name is complete', async () => {
    const { window, heard } = await shown();
    await window.focus();
    await window.type(TARGET);
    await window.untilAllowIs('awake');
    await window.press('Escape');
    expect(await heard).toBe('denied');
  });

  test('can freeze the source, where the question offers it', async () => {
    const { window, heard } = await shown(question({ ...START, freeze: 'mcp-control' as QubeName }));
    await window.focus();
    await window.press('shift+Tab', 'space');
    expect(await heard).toBe('denied and frozen');
  });

  test('offers no freeze where the question does not', async () => {
    const { window, heard } = await shown(question(START));
    await window.focus();
    await window.press('shift+Tab', 'space');
    expect(await heard).toBe('denied');
  });
});

describe('without a person', () => {
  test('time runs out into a signed timeout', async () => {
    const { window, heard } = await shown(question(REMOVE, 1));
    expect(await heard).toBe('timeout');
    await window.gone();
  });

  test('a window that is killed answers nothing', async () => {
    const { window, heard } = await shown();
    process.kill(window.pid, 'SIGKILL');
    expect(await heard).toBe('nothing');
  });

  test('a window whose client is killed by the display answers nothing', async () => {
    const { window, heard } = await shown();
    await screen.hands('windowkill', window.id);
    expect(await heard).toBe('nothing');
  });

  test('a display that is lost answers nothing', async () => {
    const doomed = await Screen.start();
    const there = await startDialog(doomed.env, true);
    onTestFinished(() => there.stop());
    const { heard } = there.ask();
    await doomed.window();
    await doomed.stop();
    expect(await heard).toBe('nothing');
  });

  test('a question whose asker is gone leaves the screen', async () => {
    const { window, socket } = await shown();
    socket.destroy();
    await window.gone();
  });

  test('an asker that only ended its own side still gets its answer', async () => {
    const { window, socket, heard } = await shown();
    socket.end();
    await window.focus();
    await window.press('Escape');
    expect(await heard).toBe('denied');
  });

  test('an asker that ended its side first and goes later takes its question along', async () => {
    const { window, socket } = await shown();
    socket.end();
    await window.focus();
    expect(window.isOpen).toBe(true);
    socket.destroy();
    await window.gone();
  });
});

describe('dead time', () => {
  /** Presses Allow without pause until an answer is there; the milliseconds since `from`. */
  const pressUntilHeard = async (window: QuestionWindow, heard: Promise<unknown>, from: number): Promise<number> => {
    let at: number | null = null;
    void heard.then(() => {
      at = performance.now();
    });
    while (at === null) await window.clickAllow().catch(() => {});
    return at - from;
  };

  test('Allow is dead for one and a half seconds after the window gets the focus', async () => {
    const { window, heard } = await shown(question(START));
    const before = performance.now();
    await window.focus();
    const took = await pressUntilHeard(window, heard, before);
    expect(await heard).toBe('approved');
    expect(took).toBeGreaterThanOrEqual(DEAD_MS);
  });

  test('and again after every refocus, however long it was awake before', async () => {
    const { id } = await otherWindow();
    const open = dialog.ask(question(START));
    const window = await screen.window(id);
    await window.focus();
    await window.untilAllowIs('awake');
    await screen.hands('windowactivate', id);
    await screen.until(() => screen.active === id, 'the focus elsewhere');
    await window.untilAllowIs('asleep');
    const before = performance.now();
    const took = await pressUntilHeard(window, open.heard, before);
    expect(await open.heard).toBe('approved');
    expect(took).toBeGreaterThanOrEqual(DEAD_MS);
  });
});

describe('manners', () => {
  test('the window is above all others, on all workspaces, asks for attention and leaves the focus where it was', async () => {
    const { id } = await otherWindow();
    const open = dialog.ask();
    onTestFinished(() => void open.socket.destroy());
    const window = await screen.window(id);
    let told = '';
    // It asks once it knows that it is on the screen, which the screen knows a moment earlier.
    await screen.look('a window that asks for attention', async () => {
      const hints = ['-id', window.id, '_NET_WM_STATE', '_NET_WM_DESKTOP', 'WM_HINTS'];
      told = (await run('xprop', hints, { env: screen.env })).stdout;
      return told.includes('urgency');
    });
    expect(told).toContain('_NET_WM_STATE_ABOVE');
    expect(told).toMatch(/_NET_WM_DESKTOP\(CARDINAL\) = 4294967295/);
    expect(screen.active).toBe(id);
    // Keys go on to where they went: none of them answers.
    await window.press('space', 'Return', 'Escape');
    expect(window.isOpen).toBe(true);
  });

  test('the window does not open under the pointer', async () => {
    for (const [x, y] of [
      [640, 380],
      [340, 141],
      [900, 500],
    ] as const) {
      await screen.hands('mousemove', String(x), String(y));
      const { window, socket } = await shown();
      expect(await screen.hands('getmouselocation', '--shell')).not.toContain(`WINDOW=${window.id}`);
      const shape = await screen.hands('getwindowgeometry', '--shell', window.id);
      const [left = 0, top = 0, width = 0, height = 0] = ['X', 'Y', 'WIDTH', 'HEIGHT'].map((name) =>
        Number(new RegExp(`^${name}=(-?\\d+)$`, 'm').exec(shape)?.[1]),
      );
      expect(x < left || x >= left + width || y < top || y >= top + height).toBe(true);
      socket.destroy();
      await window.gone();
    }
  });

  test('it never grabs: another program can have keyboard and pointer at any time', async () => {
    const grab = async () => (await run('/usr/bin/python3', [file('grab.py')], { env: screen.env })).stdout.trim();
    const { window, heard } = await shown();
    expect(await grab()).toBe('granted');
    await window.focus();
    expect(await grab()).toBe('granted');
    await window.type('ai-');
    expect(await grab()).toBe('granted');
    // The menus of an entry would grab.
    await clickEntry(window, 3);
    await window.press('Menu', 'shift+F10');
    expect(await grab()).toBe('granted');
    await screen.hands('keydown', 'space');
    expect(await grab()).toBe('granted');
    await screen.hands('keyup', 'space');
    await window.press('Escape');
    expect(await heard).toBe('denied');
  });
});

describe('one at a time', () => {
  test('a second question is refused while one is on the screen, which stays and can be answered', async () => {
    const { window, heard } = await shown();
    screen.mostOpen = 0;
    expect(await dialog.ask(question(START)).heard).toBe('nothing');
    await complained('Another question is on the screen.');
    await window.focus();
    await window.press('Escape');
    expect(await heard).toBe('denied');
    expect(screen.mostOpen).toBeLessThanOrEqual(1);
  });

  test('a question can follow as soon as the one before is answered, or was killed', async () => {
    for (const end of ['SIGTERM', 'SIGKILL', 'SIGTERM'] as const) {
      const { window, heard } = await shown();
      process.kill(window.pid, end);
      await heard;
      await window.gone();
    }
  });

  test('nor is the next question refused that is asked the moment an answer is there', async () => {
    let { heard } = dialog.ask();
    for (let count = 0; count < 6; count += 1) {
      const { pid } = await screen.window();
      process.kill(pid, 'SIGTERM');
      expect(await heard).toBe('denied');
      ({ heard } = dialog.ask());
    }
    const window = await screen.window();
    process.kill(window.pid, 'SIGTERM');
    expect(await heard).toBe('denied');
  });

  test('connections beyond a few are closed at once, and accepted again when the others have gone', async () => {
    // One of an earlier question may not be gone yet, and takes the place of one of these.
    const silent = Array.from({ length: 9 }, () => dialog.ask(''));
    let closed = 0;
    for (const { heard } of silent) void heard.then(() => (closed += 1));
    // Long before the time to send a question is over, which would close the others, too.
    await expect.poll(() => closed, { timeout: 5_000 }).toBeGreaterThanOrEqual(5);
    expect(closed).toBeLessThan(9);
    for (const { socket } of silent) socket.destroy();
    const isHeard = async () => {
      await dialog.ask('garbage\n').heard;
      return dialog.complaints.at(-1);
    };
    await expect.poll(isHeard, { timeout: 5_000 }).toContain('not a question');
  });
});

describe('what cannot be shown as it is', () => {
  const refuses = async (asked: Parameters<Dialog['ask']>[0], complaint: string): Promise<void> => {
    screen.mostOpen = 0;
    expect(await dialog.ask(asked).heard).toBe('nothing');
    await complained(complaint);
    expect(screen.mostOpen).toBe(0);
  };

  test.each([
    ['a newline', 'Fine\nAllow this'],
    ['a bidi override', 'Remove \u202ekrow-ia'],
    ['a zero-width space', 'ai\u200b-work'],
    ['look-alike letters', '\u0430i-work'],
  ])('%s is refused without a window', (_, text) =>
    refuses(question({ ...REMOVE, lines: [...REMOVE.lines, text] }), 'plain printable'),
  );

  test('markup is text', async () => {
    const lines = ['Remove ai-work (red)', 'Note: <b>not bold</b> &amp; _not a mnemonic %s'];
    const { window, heard } = await shown(question({ ...REMOVE, lines, marks: [] }));
    await window.focus();
    await window.press('Escape');
    // The signature is over the text of the widgets, so they hold it as it was sent.
    expect(await heard).toBe('denied');
  });

  test('more lines than the screen has room for are refused, not cut', () =>
    refuses(
      question({ ...START, lines: Array.from({ length: 60 }, (_, n) => `Step ${n + 1} of this plan`) }),
      'does not fit',
    ));

  test.each([
    ['no JSON', 'garbage\n', 'not a question'],
    ['two questions', `${JSON.stringify(question())}\n${JSON.stringify(question())}\n`, 'More came'],
    ['a line without end', 'x'.repeat(70_000), 'More came'],
  ])('%s is refused', (_, bytes, complaint) => refuses(bytes, complaint));

  test('a connection that stays silent is closed', async () => {
    await refuses('', 'No question came');
  });

  test('what follows a question takes it off the screen', async () => {
    const { window, socket, heard } = await shown();
    socket.write('\n');
    await window.gone();
    expect(await heard).toBe('nothing');
  });
});

test('every question leaves its process behind it', async () => {
  const { window, heard } = await shown();
  const { pid } = window;
  await window.focus();
  await window.press('Escape');
  expect(await heard).toBe('denied');
  const isGone = () => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  };
  await expect.poll(isGone).toBe(true);
});

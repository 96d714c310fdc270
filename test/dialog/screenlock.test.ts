// No question over a locked screen. The lockers are stand-ins that speak their interfaces; the words of xscreensaver's are
// those of version 6.06.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { DEAD_MS } from '../../daemon/dialog/deadtime.ts';
import { stateOfTimeAnswer, stateOfWatchLine } from '../../daemon/dialog/xscreensaver.ts';
import { Screen } from '../end-to-end/screen.ts';
import { type Dialog, question, REMOVE, START, startDialog, TARGET } from './asking.ts';

let screen: Screen;
beforeAll(async () => {
  screen = await Screen.start();
});
afterAll(() => screen?.stop());

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'qmcp-lock-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
});

interface Locker {
  /** What a dialog needs to find it. */
  readonly env: NodeJS.ProcessEnv;
  readonly lock: () => void;
  readonly unlock: () => void;
}

const DATE = 'Fri Nov 20 11:44:29 2026';

// `-watch` stays and prints changes, and LOCK at once when it is locked already; `-time` tells and ends.
const XSCREENSAVER_COMMAND = `#!/bin/sh
cd "$(dirname "$0")"
case $1 in
  -watch) if [ -e no-watch ]; then exit 1; fi; exec tail -n +1 -f watch ;;
  -time) if [ -e time ]; then cat time; else exit 255; fi ;;
esac
`;

const xscreensaver = async (locked: boolean | 'absent'): Promise<Locker> => {
  writeFileSync(join(directory, 'xscreensaver-command'), XSCREENSAVER_COMMAND, { mode: 0o755 });
  const say = (line: string) => appendFileSync(join(directory, 'watch'), `${line} ${DATE}\n`);
  const time = (state: string) =>
    writeFileSync(join(directory, 'time'), `XScreenSaver 6.06: screen ${state} since ${DATE}\n`);
  writeFileSync(join(directory, 'watch'), '');
  const lock = () => {
    time('locked');
    say('LOCK');
    say('RUN 3');
  };
  const unlock = () => {
    time('non-blanked');
    say('UNBLANK');
  };
  if (locked === true) lock();
  else if (locked === false) time('non-blanked');
  return { env: { ...screen.env, PATH: `${directory}:${screen.env.PATH}` }, lock, unlock };
};

const bus = async (): Promise<NodeJS.ProcessEnv> => {
  const daemon = spawn(
    'dbus-daemon',
    ['--session', '--nofork', '--print-address', `--address=unix:path=${directory}/bus`],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  onTestFinished(() => void daemon.kill());
  const [address] = await once(createInterface({ input: daemon.stdout }), 'line');
  return { ...screen.env, DBUS_SESSION_BUS_ADDRESS: address };
};

const saverOn = async (env: NodeJS.ProcessEnv, ...state: string[]): Promise<ChildProcess> => {
  const script = fileURLToPath(new URL('saver-on-bus.py', import.meta.url));
  const saver = spawn('/usr/bin/python3', [script, ...state], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void saver.kill());
  await once(saver.stdout as NodeJS.ReadableStream, 'data');
  return saver;
};

const xfce4Screensaver = async (locked: boolean | 'absent'): Promise<Locker> => {
  const env = await bus();
  let saver: ChildProcess | null = null;
  if (locked !== 'absent') saver = await saverOn(env, ...(locked ? ['locked'] : []));
  return { env, lock: () => saver?.stdin?.write('lock\n'), unlock: () => saver?.stdin?.write('unlock\n') };
};

const dialogUnder = async ({ env }: Pick<Locker, 'env'>): Promise<Dialog> => {
  const dialog = await startDialog(env, true);
  onTestFinished(async () => {
    await dialog.stop();
    await screen.until(() => screen.windows.length === 0, 'an empty screen');
  });
  return dialog;
};

describe.each([
  ['xscreensaver', xscreensaver],
  ['xfce4-screensaver', xfce4Screensaver],
])('under %s', (_, locker) => {
  test('a question on an unlocked screen is shown', async () => {
    const dialog = await dialogUnder(await locker(false));
    const { heard } = dialog.ask(question(START));
    const window = await screen.window();
    await window.focus();
    await window.press('Escape');
    expect(await heard).toBe('denied');
  });

  test('a question is shown where the locker is installed but not running', async () => {
    const dialog = await dialogUnder(await locker('absent'));
    const { heard } = dialog.ask(question(START, 2));
    await screen.window();
    expect(await heard).toBe('timeout');
  });

  test('a question on a locked screen is never shown, and expires into a no', async () => {
    const dialog = await dialogUnder(await locker(true));
    screen.mostOpen = 0;
    expect(await dialog.ask(question(START, 2)).heard).toBe('nothing');
    expect(screen.mostOpen).toBe(0);
    await expect.poll(() => dialog.complaints.at(-1)).toContain('stayed locked until the question had expired');
  });

  test('a question that waited behind the lock is shown when it opens', async () => {
    const lock = await locker(true);
    const dialog = await dialogUnder(lock);
    screen.mostOpen = 0;
    const { heard } = dialog.ask(question(START));
    // Long enough for the window to come, if it did.
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(screen.mostOpen).toBe(0);
    lock.unlock();
    const window = await screen.window();
    await window.focus();
    await window.press('Escape');
    expect(await heard).toBe('denied');
  });

  test('a question on the screen goes when that is locked, and forgets what was typed', async () => {
    const lock = await locker(false);
    const dialog = await dialogUnder(lock);
    const { heard } = dialog.ask(question(REMOVE));
    const before = await screen.window();
    await before.focus();
    await before.type(TARGET);
    await before.untilAllowIs('awake');
    lock.lock();
    await before.gone();
    lock.unlock();
    const after = await screen.window();
    await after.focus();
    await after.clickAllow();
    await new Promise((resolve) => setTimeout(resolve, DEAD_MS + 300));
    expect(await after.allowLooksAwake()).toBe(false);
    await after.type(TARGET);
    await after.untilAllowIs('awake');
    await after.clickAllow();
    expect(await heard).toBe('approved');
  });

  test('a question that is told to end behind the lock answers nothing: nobody sees it', async () => {
    const lock = await locker(false);
    const dialog = await dialogUnder(lock);
    const { heard } = dialog.ask(question(REMOVE));
    const window = await screen.window();
    lock.lock();
    await window.gone();
    process.kill(window.pid, 'SIGTERM');
    expect(await heard).toBe('nothing');
  });
});

test('a dialog that is killed leaves no program behind that watches a locker', async () => {
  const dialog = await dialogUnder(await xscreensaver(false));
  const { heard } = dialog.ask(question(REMOVE));
  const { pid } = await screen.window();
  const watchers = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  expect(watchers).toHaveLength(1);
  expect(existsSync(`/proc/${watchers[0]}`)).toBe(true);
  process.kill(pid, 'SIGKILL');
  expect(await heard).toBe('nothing');
  await expect.poll(() => isRunning(Number(watchers[0]))).toBe(false);
});

/** A process that nobody has waited for yet is none any more. */
const isRunning = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

describe('a locker that cannot be asked counts as locked', () => {
  const neverShown = async (env: NodeJS.ProcessEnv): Promise<void> => {
    const dialog = await dialogUnder({ env });
    screen.mostOpen = 0;
    expect(await dialog.ask(question(START, 2)).heard).toBe('nothing');
    expect(screen.mostOpen).toBe(0);
  };

  test('a running xscreensaver that cannot be watched', async () => {
    const { env } = await xscreensaver(false);
    writeFileSync(join(directory, 'no-watch'), '');
    const dialog = await dialogUnder({ env });
    expect(await dialog.ask(question(START, 2)).heard).toBe('nothing');
  });

  test('but one that is not running need not be watched', async () => {
    const { env } = await xscreensaver('absent');
    writeFileSync(join(directory, 'no-watch'), '');
    const dialog = await dialogUnder({ env });
    const { heard } = dialog.ask(question(START, 1));
    await screen.window();
    expect(await heard).toBe('timeout');
  });

  test('an xscreensaver that speaks another language', async () => {
    const { env } = await xscreensaver(false);
    writeFileSync(join(directory, 'time'), 'XScreenSaver 9: tout va bien\n');
    await neverShown(env);
  });

  test('an xfce4-screensaver that does not answer', async () => {
    const env = await bus();
    await saverOn(env, 'mute');
    await neverShown(env);
  });

  test('but a session bus that is not there has no locker on it', async () => {
    const env = { ...screen.env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${directory}/none` };
    const dialog = await dialogUnder({ env });
    const { heard } = dialog.ask(question(START, 1));
    await screen.window();
    expect(await heard).toBe('timeout');
  });
});

test('what xscreensaver says is understood, and whatever else it might say counts as locked', () => {
  expect(stateOfTimeAnswer(`XScreenSaver 6.06: screen non-blanked since ${DATE}\n`)).toBe('unlocked');
  expect(stateOfTimeAnswer(`XScreenSaver 6.06: screen blanked since ${DATE}\n`)).toBe('locked');
  expect(stateOfTimeAnswer(`XScreenSaver 6.06: screen locked since ${DATE}\n`)).toBe('locked');
  expect(stateOfTimeAnswer('')).toBe('locked');
  expect(stateOfWatchLine(`LOCK ${DATE}`)).toBe(true);
  expect(stateOfWatchLine(`BLANK ${DATE}`)).toBe(true);
  expect(stateOfWatchLine(`UNBLANK ${DATE}`)).toBe(false);
  expect(stateOfWatchLine('RUN 156')).toBeNull();
  expect(stateOfWatchLine('')).toBeNull();
});

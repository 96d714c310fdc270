// The dialog: from the call to a window on the screen, beside zenity on the same screen; what it takes, and what it leaves.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { question, REMOVE, startDialog } from '../dialog/asking.ts';
import { Screen } from '../end-to-end/screen.ts';
import { median, ms, quantile, type Row } from './row.ts';

const OPENINGS = 20;
const IN_A_ROW = 500;
/** Of these: until the listener's heap has the size that it keeps. */
const WARM_UP = 200;
const MEDIAN_MS = 250;
const ZENITY = '/usr/bin/zenity';
/** Of the listener, in kB: less than a fraction of what it would be if each question left something. */
const GROWTH_KB = 4_096;

export const dialogRows = async (progress: (text: string) => void): Promise<readonly Row[]> => {
  const screen = await Screen.start();
  const dialog = await startDialog(screen.env, true);
  try {
    progress(`${OPENINGS} windows of the dialog and of zenity`);
    const ours: number[] = [];
    const theirs: number[] = [];
    let peak = 0;
    for (let index = 0; index < OPENINGS; index += 1) {
      const { opened, kilobytes } = await openQuestion(screen, dialog);
      ours.push(opened);
      peak = Math.max(peak, kilobytes);
      // In turns, so that both see the same machine.
      if (hasZenity()) theirs.push(await openZenity(screen));
    }
    progress(`${IN_A_ROW} questions in a row`);
    for (let index = 0; index < WARM_UP; index += 1) await openQuestion(screen, dialog);
    await childrenGone(dialog.pid);
    const before = left(dialog.pid);
    for (let index = WARM_UP; index < IN_A_ROW; index += 1) await openQuestion(screen, dialog);
    await childrenGone(dialog.pid);
    const after = left(dialog.pid);
    return [
      {
        what: 'call to visible dialog, cold',
        measured: `median ${ms(median(ours))}, p95 ${ms(quantile(ours, 0.95))}`,
        target: `median under ${MEDIAN_MS} ms`,
        met: median(ours) < MEDIAN_MS,
      },
      {
        what: 'zenity --question, measured the same way in turns with it',
        measured:
          theirs.length > 0
            ? `median ${ms(median(theirs))}, p95 ${ms(quantile(theirs, 0.95))}`
            : 'zenity is not installed',
      },
      { what: 'peak memory of the dialog', measured: `${(peak / 1024).toFixed(0)} MiB resident` },
      {
        what: `${IN_A_ROW} questions in a row`,
        measured: `left behind: ${after.children} processes, ${after.descriptors - before.descriptors} descriptors, ${after.kilobytes - before.kilobytes} kB`,
        target: 'no process, no descriptor, no growth',
        met:
          after.children === 0 &&
          after.descriptors <= before.descriptors &&
          after.kilobytes - before.kilobytes < GROWTH_KB,
      },
    ];
  } finally {
    await dialog.stop();
    await screen.stop();
  }
};

type Dialog = Awaited<ReturnType<typeof startDialog>>;

const openQuestion = async (screen: Screen, dialog: Dialog): Promise<{ opened: number; kilobytes: number }> => {
  const from = performance.now();
  const { heard } = dialog.ask(question(REMOVE));
  await screen.until(() => screen.windows.length > 0, 'the dialog');
  const opened = performance.now() - from;
  const { pid } = await screen.window();
  const kilobytes = Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  process.kill(pid, 'SIGTERM');
  if ((await heard) !== 'denied') throw new Error('the dialog did not answer');
  await screen.until(() => screen.windows.length === 0, 'an empty screen');
  return { opened, kilobytes };
};

const hasZenity = (): boolean => {
  try {
    accessSync(ZENITY, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

const openZenity = async (screen: Screen): Promise<number> => {
  const from = performance.now();
  const zenity = spawn(ZENITY, ['--question', '--text', REMOVE.lines.join('\n')], { env: screen.env, stdio: 'ignore' });
  const exited = once(zenity, 'exit');
  await screen.until(() => screen.windows.length > 0, 'zenity');
  const opened = performance.now() - from;
  zenity.kill();
  await exited;
  await screen.until(() => screen.windows.length === 0, 'an empty screen');
  return opened;
};

const childrenOf = (pid: number): number =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).length;

const left = (pid: number) => ({
  children: childrenOf(pid),
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
  kilobytes: Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]),
});

/** A process that has answered takes a moment to go. */
const childrenGone = async (pid: number): Promise<void> => {
  const deadline = performance.now() + 5_000;
  while (childrenOf(pid) > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
};

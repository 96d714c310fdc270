// xscreensaver, by xscreensaver-command(1): `-time` says what is, `-watch` says what changes, also when the saver is
// started later.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Toolkit } from './gtk.ts';
import type { Stop, Tell } from './screenlock.ts';

const PROGRAM = 'xscreensaver-command';
const ANSWER_MS = 2_000;

/** A blanked screen counts as locked: nobody reads a question on it. */
export const watchXScreenSaver = (_: Toolkit, env: NodeJS.ProcessEnv, tell: Tell): Stop => {
  let stopped = false;
  let isNewer = false;
  const watcher = spawn(PROGRAM, ['-watch'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  watcher.on('error', () => {});
  watcher.on('exit', () => {
    // Without a watcher a running saver could lock unseen: no question then.
    if (stopped) return;
    isNewer = true;
    ask((now) => tell(now !== 'no saver'));
  });
  createInterface({ input: watcher.stdout }).on('line', (line) => {
    const locked = stateOfWatchLine(line);
    if (locked === null) return;
    isNewer = true;
    tell(locked);
  });

  const ask = (answer: (now: SaverState) => void): ChildProcess =>
    execFile(PROGRAM, ['-time'], { env, timeout: ANSWER_MS }, (error, stdout) => {
      if (stopped) return;
      if (error === null) answer(stateOfTimeAnswer(stdout));
      else if (error.code === 'ENOENT') answer('no saver');
      // Its way of saying that none is running on this display; anything else is silence, which counts as locked.
      else if (typeof error.code === 'number') answer('no saver');
    });
  // What the watcher has said meanwhile is newer.
  const asked = ask((now) => {
    if (!isNewer) tell(now === 'locked');
  });

  return () => {
    stopped = true;
    watcher.kill();
    asked.kill();
  };
};

type SaverState = 'locked' | 'unlocked' | 'no saver';

/** `XScreenSaver 6.06: screen locked since …`, `… screen non-blanked since …`. Whatever is not known counts as locked. */
export const stateOfTimeAnswer = (text: string): SaverState =>
  / screen non-blanked since /.test(text) ? 'unlocked' : 'locked';

/** `LOCK Fri Nov 20 …`, `BLANK …`, `UNBLANK …`; null for other news, such as `RUN 3`. */
export const stateOfWatchLine = (line: string): boolean | null => {
  if (/^UNBLANK\b/.test(line)) return false;
  return /^(?:LOCK|BLANK)\b/.test(line) ? true : null;
};

// xscreensaver, by xscreensaver-command(1): `-time` says what is, `-watch` says what changes, also when the saver is
// started later.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Stop, Tell } from './screenlock.ts';

const PROGRAM = 'xscreensaver-command';
const ANSWER_MS = 2_000;

/** A blanked screen counts as locked: nobody reads a question on it. */
export const watchXScreenSaver = (env: NodeJS.ProcessEnv, tell: Tell): Stop => {
  const program = installed(env);
  if (program === null) {
    tell(false);
    return () => {};
  }
  let stopped = false;
  let isNewer = false;
  const watcher = spawn(program, ['-watch'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
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
    execFile(program, ['-time'], { env, timeout: ANSWER_MS }, (error, stdout) => {
      if (stopped) return;
      if (error === null) answer(stateOfTimeAnswer(stdout));
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

/** Its path. Looked for here, because to start a program in vain costs more than all of this. */
const installed = ({ PATH = '/usr/bin:/bin' }: NodeJS.ProcessEnv): string | null => {
  const places = PATH.split(':').filter(isAbsolute);
  return places.map((place) => join(place, PROGRAM)).find(isExecutable) ?? null;
};

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
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

// The platform's own command-line tools, for what the Admin API alone cannot do. Nothing else in the daemon starts a process.
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';

/** A tool that has not ended by then is killed, and all that it started with it (contract 1.9). */
export const TOOL_DEADLINE_MS = 30_000;
/** How long it may go on when the daemon stops: less than the daemon waits for its calls, so that each is answered. */
export const STOP_GRACE_MS = 3_000;
/** What a tool may say before it is killed. It is for the operator's log alone. */
export const MAX_OUTPUT_BYTES = 65_536;

/** How a run came to its end. Only `done` means that the tool did what it was asked; after `late` nobody knows. */
export type ToolEnd =
  | { readonly kind: 'done' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'late' }
  /** `why` is a word of ours: `status 1`, `signal SIGSEGV`, `not started`, `too much output`. */
  | { readonly kind: 'failed'; readonly why: string };

export interface Tools {
  has(name: string): Promise<boolean>;
  /** Runs a tool with exactly these arguments: no shell, no input, a constant environment. Never rejects. */
  run(name: string, args: readonly string[]): Promise<ToolEnd>;
}

export interface ToolOptions {
  readonly deadlineMs?: number;
  /** What a tool finds in its environment beside the constants that all tools get. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly graceMs?: number;
  /** Aborted when the daemon stops. */
  readonly stopping?: AbortSignal;
  /** Told of every run that was not `done`, with what the tool said. */
  readonly report?: (name: string, end: ToolEnd, said: string) => void;
}

/** The tools in the directories of `path`, which are parted by colons; what is not absolute among them is ignored. */
export const toolsIn = (path: string, options: ToolOptions = {}): Tools => {
  const { deadlineMs = TOOL_DEADLINE_MS, graceMs = STOP_GRACE_MS, environment, stopping, report } = options;
  const directories = path.split(':').filter(isAbsolute);
  // Nothing of our own environment goes along. The user's site-packages could put other code into a tool in Python.
  const env = { PATH: directories.join(':'), LC_ALL: 'C.UTF-8', PYTHONNOUSERSITE: '1', ...environment };

  const find = async (name: string): Promise<string | null> => {
    for (const directory of directories) {
      const file = join(directory, name);
      if (await isProgram(file)) return file;
    }
    return null;
  };

  const run = async (name: string, args: readonly string[]): Promise<ToolEnd> => {
    const file = await find(name);
    if (!file) return { kind: 'missing' };
    // Loaded when it is needed, which on most machines is never: it is a tenth of the idle daemon's memory.
    const { execa } = await import('execa');
    const running = execa(file, args, {
      env,
      extendEnv: false,
      cwd: '/',
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
      maxBuffer: MAX_OUTPUT_BYTES,
      encoding: 'latin1',
      timeout: deadlineMs,
      killSignal: 'SIGKILL',
      killDescendants: true,
      // execa's own way would end us by the signal that we were told to end with.
      cleanup: false,
      reject: false,
    });
    let cutOff = false;
    let grace: NodeJS.Timeout | undefined;
    const kill = (): void => {
      cutOff = true;
      running.kill('SIGKILL');
    };
    const hurry = (): void => {
      grace = setTimeout(kill, graceMs);
    };
    process.once('exit', kill);
    if (stopping?.aborted) hurry();
    else stopping?.addEventListener('abort', hurry);
    const result = await running;
    process.off('exit', kill);
    stopping?.removeEventListener('abort', hurry);
    clearTimeout(grace);
    const end: ToolEnd = cutOff ? { kind: 'late' } : endOf(result);
    if (end.kind !== 'done') report?.(name, end, result.stderr ?? '');
    return end;
  };

  return { has: async (name) => (await find(name)) !== null, run };
};

interface Result {
  readonly failed: boolean;
  readonly timedOut: boolean;
  readonly isMaxBuffer: boolean;
  readonly exitCode?: number;
  readonly signal?: string;
}

const endOf = ({ failed, timedOut, isMaxBuffer, exitCode, signal }: Result): ToolEnd => {
  if (!failed) return { kind: 'done' };
  if (timedOut) return { kind: 'late' };
  if (isMaxBuffer) return { kind: 'failed', why: 'too much output' };
  if (exitCode !== undefined) return { kind: 'failed', why: `status ${exitCode}` };
  return { kind: 'failed', why: signal === undefined ? 'not started' : `signal ${signal}` };
};

const isProgram = async (file: string): Promise<boolean> => {
  try {
    if (!(await stat(file)).isFile()) return false;
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

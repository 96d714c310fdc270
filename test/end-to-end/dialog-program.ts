// The built dialog as a program: a key made by it, and its listener, which shows each question in a process of its own.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const PROGRAM = fileURLToPath(new URL('../../dist/qmcp-confirm.cjs', import.meta.url));

/** Makes a key in `file` as an operator does; its public half goes to `publicFile`, as `<etc>/confirm.pub` has it. */
export const enroll = async (file: string, publicFile: string): Promise<void> => {
  await promisify(execFile)(process.execPath, [PROGRAM, '--enroll', '--key', file, '--public', publicFile]);
};

export interface ListenOptions {
  readonly socket: string;
  readonly key: string;
  /** Its DISPLAY says where the windows appear. */
  readonly env: NodeJS.ProcessEnv;
  /** Lets xdotool answer. */
  readonly acceptSynthetic: boolean;
}

/** The listener, accepting on its socket. What it and its windows complain of is handed to `complain`, line by line. */
export const startListener = async (
  { socket, key, env, acceptSynthetic }: ListenOptions,
  complain: (line: string) => void = (line) => process.stderr.write(`${line}\n`),
): Promise<{ readonly pid: number; readonly stop: () => Promise<void> }> => {
  const args = [PROGRAM, '--listen', socket, '--key', key, ...(acceptSynthetic ? ['--accept-synthetic-input'] : [])];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let complaints = '';
  child.stderr.on('data', (chunk) => {
    const lines = `${complaints}${chunk}`.split('\n');
    complaints = lines.pop() ?? '';
    for (const line of lines) complain(line);
  });
  const first = await Promise.race([
    once(child.stdout, 'data').then(() => 'ready'),
    once(child, 'exit').then(() => 'gone'),
  ]);
  if (first === 'gone') throw new Error(`the listener of the dialog ended: ${complaints}`);
  return { pid: child.pid as number, stop: () => ended(child) };
};

const ended = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
};

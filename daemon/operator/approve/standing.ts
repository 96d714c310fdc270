// Where this process stands: is there a person at this machine on both ends of it? Checks against accidents. Who has the
// rights of the operator's own account can get past them, and has the key anyway (SECURITY.md).
import { fstatSync, readFileSync } from 'node:fs';
import { isatty } from 'node:tty';

export interface Standing {
  /** Device numbers of the terminals behind standard input and output; null where there is none behind it. */
  readonly input: number | null;
  readonly output: number | null;
  /** Device number of the session's controlling terminal; 0 without one. */
  readonly controlling: number;
  /** Whether the terminal's keys go to this process, and not to another job of the shell. */
  readonly inForeground: boolean;
  readonly env: NodeJS.ProcessEnv;
}

const CONSOLE = 'Log in at this machine, on a text console (Ctrl-Alt-F2), and run it there.';

/** Why no question may be answered from here, as a sentence that says what to do; null when it may. */
export const reasonNotHere = ({ input, output, controlling, inForeground, env }: Standing): string | null => {
  const has = (...names: readonly string[]): boolean => names.some((name) => Boolean(env[name]));
  if (Object.keys(env).some((name) => name.startsWith('QREXEC_') && has(name)))
    return `This was started through qrexec, by another qube. ${CONSOLE}`;
  if (has('SSH_CONNECTION', 'SSH_CLIENT', 'SSH_TTY')) return `This is a session over ssh. ${CONSOLE}`;
  if (has('SUDO_UID', 'SUDO_USER'))
    return 'Run it without sudo: the key that signs your answers is yours, not that of root.';
  if (input === null || output === null || input !== controlling || output !== controlling)
    return 'It asks a person: standard input and output must both be the terminal that it is started from, no pipe and no file.';
  if (!inForeground) return 'Run it in the foreground, without "&".';
  // Other programs of the desktop can type into its terminals, and the window can tell them from a person.
  if (has('DISPLAY', 'WAYLAND_DISPLAY'))
    return `This terminal is part of a desktop, where the window asks: systemctl --user start qmcp-confirm.socket. Without it: ${CONSOLE}`;
  if (has('TMUX', 'STY')) return `Other programs can type into a terminal of tmux or screen. ${CONSOLE}`;
  if (!env.TERM || env.TERM === 'dumb')
    return 'TERM says that this terminal cannot be cleared, so a question could not be told from what stood there before. Use another.';
  return null;
};

/** As it is now. */
export const standingOf = (env: NodeJS.ProcessEnv): Standing => {
  // proc_pid_stat(5): the name, in brackets, may hold anything; behind it state, ppid, pgrp, session, tty_nr, tpgid.
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const [, , group = '', , terminal = '0', foreground = ''] = fields;
  return {
    input: terminalBehind(0),
    output: terminalBehind(1),
    controlling: Number(terminal),
    inForeground: group === foreground,
    env,
  };
};

const terminalBehind = (descriptor: number): number | null => (isatty(descriptor) ? fstatSync(descriptor).rdev : null);

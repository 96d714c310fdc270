// The command line of qmcp-confirm, as one of three things to do, or a sentence that says why not.
import { parseArgs } from 'node:util';
import { defaultKeyFile } from './key.ts';
import { CHILD_CONNECTION } from './listener.ts';

export type Command =
  | { readonly kind: 'answer'; readonly connection: number; readonly key: string; readonly acceptSynthetic: boolean }
  | { readonly kind: 'listen'; readonly socket: string; readonly childArguments: readonly string[] }
  | { readonly kind: 'enroll'; readonly key: string; readonly rotate: boolean; readonly public: string | null }
  | { readonly kind: 'help' }
  | { readonly kind: 'mistake'; readonly sentence: string };

export const HELP = `Shows one question of the broker to the person at the machine and signs the answer.

  qmcp-confirm --enroll [--rotate] [--key FILE] [--public FILE]
      Make the signing key; print its public half, or write it to FILE, for <etc>/confirm.pub.
      --rotate replaces an existing key and keeps the old one beside it.
  qmcp-confirm --listen SOCKET [--key FILE] [--accept-synthetic-input]
      Answer questions that arrive on SOCKET, one process each. For demos and tests:
      an installed system starts qmcp-confirm from its user socket unit instead.
  qmcp-confirm [--key FILE]
      Answer the question on the connection that systemd passed (Accept=yes).

  --key FILE                 default $XDG_DATA_HOME/qmcp-confirm/key
  --accept-synthetic-input   let programs press the buttons; never in an installed system
`;

const OPTIONS = {
  enroll: { type: 'boolean', default: false },
  rotate: { type: 'boolean', default: false },
  public: { type: 'string' },
  listen: { type: 'string' },
  key: { type: 'string' },
  'accept-synthetic-input': { type: 'boolean', default: false },
  // Between the listener and its children.
  'connection-from-listener': { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

/** `args` without the program, the environment and this process's id. */
export const commandOf = (args: readonly string[], env: NodeJS.ProcessEnv, pid: number): Command => {
  let flags: ReturnType<typeof parse>;
  try {
    flags = parse(args);
  } catch (error) {
    return { kind: 'mistake', sentence: `${(error as Error).message} See qmcp-confirm --help.` };
  }
  if (flags.help) return { kind: 'help' };
  const key = flags.key ?? defaultKeyFile(env);
  if (flags.enroll) return { kind: 'enroll', key, rotate: flags.rotate, public: flags.public ?? null };
  const acceptSynthetic = flags['accept-synthetic-input'];
  if (acceptSynthetic && isStartedBySystemd(env, pid)) {
    return { kind: 'mistake', sentence: '--accept-synthetic-input is for demos and tests: remove it from the unit.' };
  }
  if (flags.listen !== undefined) {
    const childArguments = ['--connection-from-listener', '--key', key];
    if (acceptSynthetic) childArguments.push('--accept-synthetic-input');
    return { kind: 'listen', socket: flags.listen, childArguments };
  }
  const connected = flags['connection-from-listener'] || isPassedOneConnection(env, pid);
  if (connected) return { kind: 'answer', connection: CHILD_CONNECTION, key, acceptSynthetic };
  return { kind: 'mistake', sentence: 'There is no connection to answer on. See qmcp-confirm --help.' };
};

const parse = (args: readonly string[]) => parseArgs({ args: [...args], options: OPTIONS, strict: true }).values;

/** sd_listen_fds(3): exactly one descriptor, meant for this process. */
const isPassedOneConnection = (env: NodeJS.ProcessEnv, pid: number): boolean =>
  env.LISTEN_PID === String(pid) && env.LISTEN_FDS === '1';

/**
 * Whether an installed unit is behind this process: descriptors passed by systemd to it or to an ancestor, or started
 * by systemd itself (SYSTEMD_EXEC_PID, systemd.exec(5)). INVOCATION_ID and JOURNAL_STREAM alone do not count: every
 * terminal of a desktop and every CI job started as a service has them.
 */
const isStartedBySystemd = (env: NodeJS.ProcessEnv, pid: number): boolean =>
  ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'].some((name) => env[name] !== undefined) ||
  env.SYSTEMD_EXEC_PID === String(pid);

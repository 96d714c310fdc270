// What systemd hands to the daemon and wants to hear from it. Where systemd did not start it, nothing here does anything.
//
// Node cannot send to a datagram socket of the file system, which is where systemd listens, so each word costs a run of
// systemd-notify (NotifyAccess=all). Hence two kinds of word only: ready, and a sign of life at half of an interval that the unit
// makes long.
import { type ToolEnd, type Tools, toolsIn } from './qubesadmin/tool.ts';

/** Where systemd-notify is, and nowhere else. */
const TOOL_DIRECTORY = '/usr/bin';
const TOOL = 'systemd-notify';
const TOOL_DEADLINE_MS = 5_000;
/** No unit may make the daemon start processes faster than this. */
const SHORTEST_INTERVAL_MS = 500;

/** The first descriptor that systemd passes (sd_listen_fds(3)). */
const FIRST_DESCRIPTOR = 3;

/** The descriptor of the listening socket that systemd passed to this process under `name`, or null. */
export const passedSocket = (name: string, env: NodeJS.ProcessEnv, pid: number): number | null => {
  // The variables are inherited by whatever the process that they were meant for starts.
  if (env.LISTEN_PID !== String(pid)) return null;
  const position = (env.LISTEN_FDNAMES ?? '').split(':').indexOf(name);
  return position >= 0 && position < Number(env.LISTEN_FDS) ? FIRST_DESCRIPTOR + position : null;
};

/** Milliseconds within which systemd wants a sign of life from this process, or null where it wants none. */
export const watchdogMs = (env: NodeJS.ProcessEnv, pid: number): number | null => {
  if (env.WATCHDOG_PID !== undefined && env.WATCHDOG_PID !== String(pid)) return null;
  return /^[1-9][0-9]{0,14}$/.test(env.WATCHDOG_USEC ?? '') ? Number(env.WATCHDOG_USEC) / 1_000 : null;
};

/** The tool that speaks to systemd from this environment, or null where nobody listens. */
export const notifierIn = (
  env: NodeJS.ProcessEnv,
  report: (name: string, end: ToolEnd, said: string) => void,
): Tools | null =>
  env.NOTIFY_SOCKET
    ? toolsIn(TOOL_DIRECTORY, {
        environment: { NOTIFY_SOCKET: env.NOTIFY_SOCKET },
        deadlineMs: TOOL_DEADLINE_MS,
        report,
      })
    : null;

/** Calls back again and again, each `ms` milliseconds, until the function that it gives is called. */
export type Repeat = (ms: number, work: () => void) => () => void;

/**
 * Says that calls are answered, and from then on, where there is a watchdog, that the event loop still turns: a daemon that hangs
 * would hold its callers' calls, of which qrexec bears about 250. Resolves once systemd knows; gives what ends the signs of life.
 */
export const reportReady = async (
  notifier: Tools | null,
  watchdog: number | null,
  every: Repeat,
): Promise<() => void> => {
  if (!notifier) return () => {};
  await notifier.run(TOOL, ['--ready']);
  if (watchdog === null) return () => {};
  return every(Math.max(watchdog / 2, SHORTEST_INTERVAL_MS), () => void notifier.run(TOOL, ['WATCHDOG=1']));
};

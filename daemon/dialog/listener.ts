// `qmcp-confirm --listen SOCKET`: what the user's socket unit does in an install, for the demo and the tests. One child
// per connection, which gets the connection as file descriptor 3.
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';

export const CHILD_CONNECTION = 3;
/** The broker asks one question at a time; a child that is still leaving may overlap with the next. */
const MAX_CHILDREN = 4;

/**
 * Accepts connections on the socket file `path` (0600) until SIGTERM or SIGINT, starting `command` for each.
 * `ready` is called once it accepts; resolves when all children have ended. Rejects when the path cannot be used.
 */
export const listen = async (path: string, command: readonly [string, ...string[]], ready: () => void) => {
  if (await answers(path)) throw new Error(`Another process is listening on ${path}. Stop it first.`);
  rmSync(path, { force: true });
  const children = new Set<ChildProcess>();
  const server = createServer({ pauseOnConnect: true }, (connection) => {
    if (children.size >= MAX_CHILDREN) return connection.destroy();
    const child = start(command, connection);
    children.add(child);
    const done = () => {
      children.delete(child);
      endGroupOf(child);
    };
    child.on('exit', done).on('error', done);
  });
  const stopped = new Promise<void>((resolve) => {
    const stop = () => {
      server.close(() => resolve());
      for (const child of children) child.kill('SIGTERM');
    };
    process.once('SIGTERM', stop).once('SIGINT', stop);
  });
  const previous = process.umask(0o177);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  process.umask(previous);
  ready();
  await stopped;
  await Promise.all([...children].map((child) => new Promise((resolve) => child.once('exit', resolve))));
};

const start = ([program, ...args]: readonly [string, ...string[]], connection: Socket): ChildProcess => {
  // A process group of its own, so that whatever it started can be ended after it, however it ended.
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', connection], detached: true });
  // The child has its own copy; this one would keep the connection open after the child has gone.
  connection.destroy();
  return child;
};

/** A dialog that is killed leaves the programs behind that watch the screen lockers for it; systemd clears these away itself. */
const endGroupOf = ({ pid }: ChildProcess): void => {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nobody was left.
  }
};

/** Whether somebody accepts connections there: a socket file left behind by a killed process does not. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = connect(path);
    const tell = (result: boolean) => {
      probe.destroy();
      resolve(result);
    };
    probe.once('connect', () => tell(true)).once('error', () => tell(false));
  });

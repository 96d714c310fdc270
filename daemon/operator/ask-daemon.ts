// Asking the running daemon. Whether it is there, lives and speaks our language is known within two seconds, whatever the
// verb; only then is the request made, which may take as long as qubesd takes.
import { createConnection } from 'node:net';
import { join } from 'node:path';
import type * as z from 'zod/mini';
import packageJson from '../../package.json' with { type: 'json' };
import { answer, hello } from '../control/answers.ts';
import { type Answer, MAX_ANSWER_BYTES, PROTOCOL } from '../control/protocol.ts';
import { type Io, printable, Refusal } from './command.ts';

/** The daemon answers this out of its memory. */
const HELLO_MS = 900;
/** Longer without a word would look like a hang. */
const PATIENCE_MS = 1_000;
/** Longer than the daemon itself takes to give up (control/socket.ts). */
const WORK_MS = 160_000;

/** A verb that asks several times waits once for a daemon that hangs. */
const HUNG = new WeakMap<object, Hanging>();

export const START = 'sudo systemctl start qmcp-brokerd';
export const RESTART = 'sudo systemctl restart qmcp-brokerd';

/** Rejects with Refusal, in one sentence, where there is no answer or the daemon declines. */
export async function askDaemon<T>(
  run: string,
  verb: string,
  args: object,
  shape: z.ZodMiniType<T>,
  io: Asking,
): Promise<T> {
  const path = join(run, 'control.sock');
  const before = HUNG.get(io);
  if (before) throw before;
  const { version } = await request(path, 'hello', {}, hello, HELLO_MS).catch((error: unknown) => {
    if (error instanceof Hanging) HUNG.set(io, error);
    throw error;
  });
  if (version !== packageJson.version) io.err(`${otherVersion(version)}\n`);
  const over = sayWaiting(io);
  try {
    return (await request(path, verb, args, shape, WORK_MS)).result;
  } finally {
    over();
  }
}

type Asking = Pick<Io, 'err'> & Partial<Pick<Io, 'watched'>>;

/** Tells a person who watches that it takes its time; what it gives takes that away again. */
const sayWaiting = ({ err, watched }: Asking): (() => void) => {
  let isSaid = false;
  const say = (): void => {
    err('The daemon is at it, and may have to wait for qubesd.');
    isSaid = true;
  };
  const timer = watched ? setTimeout(say, PATIENCE_MS) : undefined;
  return () => {
    clearTimeout(timer);
    if (isSaid) err('\r\x1b[K');
  };
};

/** As `askDaemon`, but null where there is no daemon to ask; a daemon that hangs or declines is still a Refusal. */
export async function askDaemonIfThere<T>(
  run: string,
  verb: string,
  args: object,
  shape: z.ZodMiniType<T>,
  io: Asking,
): Promise<T | null> {
  try {
    return await askDaemon(run, verb, args, shape, io);
  } catch (error) {
    if (error instanceof Unreachable) return null;
    throw error;
  }
}

/** The version of the daemon that runs. Rejects as `askDaemon` does. */
export const helloDaemon = async (run: string): Promise<string> =>
  printable((await request(join(run, 'control.sock'), 'hello', {}, hello, HELLO_MS)).version).slice(0, 20);

/** There is no daemon that can be asked anything. */
export class Absent extends Refusal {}
/** Nobody listens. */
export class Unreachable extends Absent {}
/** Somebody listens and does not answer. */
export class Hanging extends Absent {}

const otherVersion = (version: string): string =>
  `The daemon is of version ${printable(version).slice(0, 20)}, qmcpctl of ${packageJson.version}. To have the same: ${RESTART}`;

async function request<T>(
  path: string,
  verb: string,
  args: object,
  shape: z.ZodMiniType<T>,
  ms: number,
): Promise<{ readonly result: T; readonly version: string }> {
  const said = answerIn(await exchange(path, `${JSON.stringify({ v: PROTOCOL, verb, args })}\n`, ms));
  if (said === null || said.v !== PROTOCOL) throw new Absent(strange(said?.version));
  if (!said.ok) throw new Refusal(printable(said.error));
  const result = shape.safeParse(said.result);
  if (!result.success) throw new Absent(strange(said.version));
  return { result: result.data, version: said.version };
}

const strange = (version: string | undefined): string =>
  version === undefined || version === packageJson.version
    ? `The daemon answers in a way that qmcpctl ${packageJson.version} does not understand. To have the same version: ${RESTART}`
    : otherVersion(version);

const answerIn = (line: string): Answer | null => {
  try {
    const parsed = answer.safeParse(JSON.parse(line));
    return parsed.success ? (parsed.data as Answer) : null;
  } catch {
    return null;
  }
};

const exchange = (path: string, line: string, ms: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const socket = createConnection({ path });
    const end = (error: Refusal | null): void => {
      clearTimeout(timer);
      socket.destroy();
      if (error) reject(error);
      else resolve(Buffer.concat(chunks).toString('utf8'));
    };
    const timer = setTimeout(
      () =>
        end(new Hanging(`The daemon does not answer on ${path}. Look at journalctl -u qmcp-brokerd, then: ${RESTART}`)),
      ms,
    );
    socket.on('connect', () => socket.write(line));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES) end(new Refusal('The daemon answers more than any answer can be long.'));
    });
    socket.on('end', () => end(null));
    socket.on('error', (error: NodeJS.ErrnoException) => end(unreachable(path, error.code ?? error.message)));
  });

const unreachable = (path: string, code: string): Refusal =>
  code === 'EACCES' || code === 'EPERM'
    ? new Refusal(`${path} is not open to this user. Use sudo, or a user of the group qubes.`)
    : new Unreachable(`The daemon is not running: nobody answers on ${path} (${code}). To start it: ${START}`);

// The least that can talk to qubesd: bytes out, half-close, bytes in. For tests and benches of the simulation itself.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const bytesOf = (request: string | Buffer): Buffer =>
  typeof request === 'string' ? Buffer.from(request, 'latin1') : request;

/** Sends a request in the given chunks, half-closes, and gives all bytes that come back until the connection ends. */
export const exchange = async (path: string, ...chunks: readonly (string | Buffer)[]): Promise<Buffer> => {
  const socket = connect({ path, allowHalfOpen: true });
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  // A connection that qubesd drops can end in EPIPE or ECONNRESET here; what came before it counts.
  socket.on('error', () => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.once('end', () => socket.end());
  for (const chunk of chunks) await new Promise<void>((resolve) => socket.write(bytesOf(chunk), () => resolve()));
  if (!socket.destroyed) socket.end();
  await closed;
  return Buffer.concat(received);
};

/** One call in qubesd's own words: `ask(path, 'admin.vm.tag.Get+x', 'ai-work')`; the answer as text, with its NULs. */
export const ask = async (path: string, method: string, dest: string, payload = ''): Promise<string> =>
  (await exchange(path, `${method}${method.includes('+') ? '' : '+'} dom0 name ${dest}\0${payload}`)).toString();

/** An open event stream, read event by event. */
export class EventReader {
  readonly #socket: Socket;
  #buffer = Buffer.alloc(0);
  #ended = false;
  #arrived: () => void = () => {};

  constructor(path: string, dest = 'dom0') {
    this.#socket = connect({ path, allowHalfOpen: true });
    this.#socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#arrived();
    });
    const ended = (): void => {
      this.#ended = true;
      this.#arrived();
    };
    this.#socket.on('error', ended).on('end', ended).on('close', ended);
    this.#socket.end(`admin.Events+ dom0 name ${dest}\0`);
  }

  /** The bytes of the next event, as text; null when the stream has ended. */
  async next(): Promise<string | null> {
    for (;;) {
      const event = /^1\0[^\0]*\0[^\0]*\0(?:[^\0]+\0[^\0]*\0)*?\0/.exec(this.#buffer.toString('latin1'))?.[0];
      if (event !== undefined) {
        this.#buffer = this.#buffer.subarray(event.length);
        return event;
      }
      if (this.#ended) return null;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  /** The name of the next event with its subject: "ai-work domain-start". */
  async nextName(): Promise<string | null> {
    const [, subject, event] = (await this.next())?.split('\0') ?? [];
    return event === undefined ? null : `${subject} ${event}`;
  }

  async close(): Promise<void> {
    this.#socket.destroy();
    if (!this.#socket.closed) await once(this.#socket, 'close');
  }
}

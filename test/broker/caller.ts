// A caller as qrexec is one: header, body, half-close, then everything that comes back until the full close.
import { createConnection, type Socket } from 'node:net';

export interface CallOptions {
  readonly source?: string;
  readonly argument?: string;
}

/** The bytes that qrexec would send for a call of `service`; a string body goes as it is. */
export const frame = (
  service: string,
  body: unknown,
  { source = 'mcp-control', argument = '' }: CallOptions = {},
): string =>
  `${service}+${argument} ${source} keyword adminvm\0${typeof body === 'string' ? body : JSON.stringify(body)}`;

/** Sends chunks, half-closes, resolves with all that came back when the connection is closed. */
export const exchange = (path: string, ...chunks: (string | Buffer)[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const received: Buffer[] = [];
    const socket = createConnection({ path, allowHalfOpen: true });
    socket.on('data', (chunk) => received.push(chunk));
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(Buffer.concat(received).toString('utf8')));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') reject(error);
    });
    socket.on('connect', () => {
      for (const chunk of chunks) socket.write(chunk);
      socket.end();
    });
  });

/** One call; the reply parsed. Rejects unless it is exactly one JSON object and a newline. */
export const call = async (
  path: string,
  service: string,
  body: unknown,
  options: CallOptions = {},
): Promise<Record<string, unknown>> => {
  const text = await exchange(path, frame(service, body, options));
  if (!/^\{[^\n]*\}\n$/.test(text)) throw new Error(`not one line with one object: ${JSON.stringify(text)}`);
  return JSON.parse(text);
};

/** A connection that is held: sends what it is told, and tells what it got when it closes. */
export const held = async (path: string): Promise<{ socket: Socket; closed: Promise<string> }> => {
  const socket = createConnection({ path, allowHalfOpen: true });
  const received: Buffer[] = [];
  socket.on('data', (chunk) => received.push(chunk));
  socket.on('end', () => socket.end());
  socket.on('error', () => {});
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => resolve(Buffer.concat(received).toString('utf8')));
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return { socket, closed };
};

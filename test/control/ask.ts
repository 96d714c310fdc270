// One request over a control socket, as qmcpctl makes it or as nobody should.
import { createConnection } from 'node:net';
import type { Answer } from '../../daemon/control/protocol.ts';

/** Sends the bytes as they are; everything that comes back until the close. */
export const exchange = (path: string, bytes: string | Buffer): Promise<string> =>
  new Promise((resolve, reject) => {
    const received: Buffer[] = [];
    const socket = createConnection({ path, allowHalfOpen: true }, () => socket.write(bytes));
    socket.on('data', (chunk) => received.push(chunk));
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(Buffer.concat(received).toString('utf8')));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') reject(error);
    });
  });

/** One request, and its answer. */
export const ask = async (path: string, verb: string, args: object = {}): Promise<Answer> =>
  JSON.parse(await exchange(path, `${JSON.stringify({ v: 1, verb, args })}\n`)) as Answer;

/** The result of a request that must be answered with one. */
export const result = async <T>(path: string, verb: string, args: object = {}): Promise<T> => {
  const answer = await ask(path, verb, args);
  if (!answer.ok) throw new Error(answer.error);
  return answer.result as T;
};

/** The sentence of a request that must be declined. */
export const refusal = async (path: string, verb: string, args: object = {}): Promise<string> => {
  const answer = await ask(path, verb, args);
  if (answer.ok) throw new Error(`done: ${JSON.stringify(answer.result)}`);
  return answer.error;
};

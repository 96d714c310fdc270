// A closed loop of callers: each sends, waits for the full close, and sends again.
import { createConnection } from 'node:net';

export interface Driven {
  /** Milliseconds per call, in order of completion. */
  readonly latencies: readonly number[];
  readonly perSecond: number;
}

const exchange = (path: string, bytes: Buffer): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = createConnection({ path, allowHalfOpen: true }, () => socket.end(bytes));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => resolve(Buffer.concat(chunks)));
    socket.on('error', reject);
  });

/** Calls with `concurrency` callers for `seconds`, each call with the same bytes or with new ones. Rejects when a reply does not begin as expected. */
export const drive = async (
  path: string,
  bytes: Buffer | (() => Buffer),
  expected: string,
  concurrency: number,
  seconds: number,
): Promise<Driven> => {
  const latencies: number[] = [];
  const began = performance.now();
  const deadline = began + seconds * 1000;
  const caller = async (): Promise<void> => {
    while (performance.now() < deadline) {
      const sent = typeof bytes === 'function' ? bytes() : bytes;
      const start = performance.now();
      const reply = await exchange(path, sent);
      latencies.push(performance.now() - start);
      if (!reply.toString('latin1', 0, expected.length).startsWith(expected)) {
        throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(reply.toString('utf8', 0, 200))}`);
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  return { latencies, perSecond: latencies.length / ((performance.now() - began) / 1000) };
};

// Callers that work or flood, each in a closed loop: send, wait for the full close, send again.
import { createConnection } from 'node:net';

/** How often each kind of reply came: `ok`, the text of an error, `none` for a close without a byte. */
export type Replies = Map<string, number>;

export interface Tally {
  /** Milliseconds per call. */
  readonly latencies: number[];
  readonly replies: Replies;
}

export const newTally = (): Tally => ({ latencies: [], replies: new Map() });
export const countOf = (replies: Replies): number => [...replies.values()].reduce((sum, each) => sum + each, 0);

/** One call; counted. `halfClose` false leaves the sending side open, as a caller that never ends its body. */
export const called = (path: string, bytes: string | Buffer, tally: Tally, halfClose = true): Promise<string> =>
  new Promise((resolve) => {
    let reply = '';
    const began = performance.now();
    const socket = createConnection({ path, allowHalfOpen: true }, () =>
      halfClose ? socket.end(bytes) : socket.write(bytes),
    );
    socket.on('data', (chunk) => {
      reply += chunk.toString('utf8');
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => {});
    socket.on('close', () => {
      tally.latencies.push(performance.now() - began);
      const kind = kindOf(reply);
      tally.replies.set(kind, (tally.replies.get(kind) ?? 0) + 1);
      resolve(reply);
    });
  });

const kindOf = (reply: string): string => {
  if (reply === '') return 'none';
  if (reply.startsWith('{"ok":true')) return 'ok';
  return /"error":"([^"]*)"/.exec(reply)?.[1] ?? 'unreadable';
};

/** So many callers side by side, for as long as it goes on. */
export const crowd = async (
  path: string,
  callers: number,
  goesOn: () => boolean,
  next: () => { readonly bytes: string | Buffer; readonly halfClose?: boolean },
): Promise<Tally> => {
  const tally = newTally();
  const one = async (): Promise<void> => {
    while (goesOn()) {
      const { bytes, halfClose } = next();
      await called(path, bytes, tally, halfClose);
    }
  };
  await Promise.all(Array.from({ length: callers }, one));
  return tally;
};

// The connection to the dialog: one question, one line back, within a deadline.
import { createConnection } from 'node:net';
import type { Question } from './question.ts';

/** With its newline. */
export const MAX_ANSWER_BYTES = 16_384;
/** A person at the machine is either reachable at once or not. */
const CONNECT_DEADLINE_MS = 2_000;

export type Heard =
  | { readonly line: string }
  | { readonly silence: 'no dialog' | 'no answer' | 'too long' | 'timeout' | 'withdrawn' };

/**
 * Sends the question to the approver at `path` and waits for its one line, for `timeoutMs` milliseconds at most.
 * Aborting `signal` withdraws the question: the connection closes and the window goes away. Never rejects.
 */
export const askApprover = (path: string, question: Question, timeoutMs: number, signal: AbortSignal): Promise<Heard> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const socket = createConnection({ path, allowHalfOpen: true });
    const end = (heard: Heard): void => {
      clearTimeout(unreachable);
      clearTimeout(expiry);
      signal.removeEventListener('abort', withdraw);
      socket.destroy();
      resolve(heard);
    };
    const withdraw = (): void => end({ silence: 'withdrawn' });
    const unreachable = setTimeout(() => end({ silence: 'no dialog' }), CONNECT_DEADLINE_MS);
    const expiry = setTimeout(() => end({ silence: 'timeout' }), timeoutMs);
    if (signal.aborted) {
      withdraw();
      return;
    }
    signal.addEventListener('abort', withdraw);
    socket.on('connect', () => {
      clearTimeout(unreachable);
      socket.write(`${JSON.stringify(question)}\n`);
    });
    socket.on('data', (chunk) => {
      const newline = chunk.indexOf(0x0a);
      const lineLength = length + (newline < 0 ? chunk.length : newline);
      chunks.push(chunk);
      length += chunk.length;
      if (lineLength >= MAX_ANSWER_BYTES) end({ silence: 'too long' });
      else if (newline >= 0) end({ line: Buffer.concat(chunks).toString('utf8', 0, lineLength) });
    });
    socket.on('end', () => end({ silence: 'no answer' }));
    socket.on('error', () => end({ silence: length > 0 ? 'no answer' : 'no dialog' }));
  });

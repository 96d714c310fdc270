// The connection to the dialog: one question, one line back, within a deadline.
import { createConnection, type Socket } from 'node:net';
import type { Question } from './question.ts';

/** With its newline. */
export const MAX_ANSWER_BYTES = 16_384;

export type Heard =
  | { readonly line: string }
  | { readonly silence: 'no answer' | 'too long' | 'timeout' | 'withdrawn' };

/** A dialog that is there, for one question. */
export interface Approver {
  /**
   * Sends the question and waits for the one line, for `timeoutMs` milliseconds at most. Aborting `signal` withdraws the question:
   * the connection closes and the window goes away. Never rejects.
   */
  ask(question: Question, timeoutMs: number, signal: AbortSignal): Promise<Heard>;
  /** False once it has closed its side. */
  isThere(): boolean;
  /** Without a question. */
  leave(): void;
}

/**
 * Whoever answers at `path`, or null where nobody does. It starts up while the words are still being made, which is half of what a
 * person would wait for. Never rejects.
 */
export const reachApprover = (path: string): Promise<Approver | null> =>
  new Promise((resolve) => {
    // The kernel says at once whether somebody listens on a local socket, and keeps nobody waiting: connect(2), EAGAIN.
    const socket = createConnection({ path });
    socket.on('error', () => resolve(null));
    socket.on('connect', () =>
      resolve({
        ask: (question, timeoutMs, signal) => ask(socket, question, timeoutMs, signal),
        isThere: () => socket.readable,
        leave: () => socket.destroy(),
      }),
    );
  });

const ask = (socket: Socket, question: Question, timeoutMs: number, signal: AbortSignal): Promise<Heard> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const end = (heard: Heard): void => {
      clearTimeout(expiry);
      signal.removeEventListener('abort', withdraw);
      socket.destroy();
      resolve(heard);
    };
    const withdraw = (): void => end({ silence: 'withdrawn' });
    const expiry = setTimeout(() => end({ silence: 'timeout' }), timeoutMs);
    // Whoever closed its side while the words were being made has nothing to say any more, and will not be heard to end again.
    if (signal.aborted || !socket.readable) {
      end({ silence: signal.aborted ? 'withdrawn' : 'no answer' });
      return;
    }
    signal.addEventListener('abort', withdraw);
    socket.write(`${JSON.stringify(question)}\n`);
    socket.on('data', (chunk) => {
      const newline = chunk.indexOf(0x0a);
      const lineLength = length + (newline < 0 ? chunk.length : newline);
      chunks.push(chunk);
      length += chunk.length;
      if (lineLength >= MAX_ANSWER_BYTES) end({ silence: 'too long' });
      else if (newline >= 0) end({ line: Buffer.concat(chunks).toString('utf8', 0, lineLength) });
    });
    socket.on('close', () => end({ silence: 'no answer' }));
  });

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { askApprover, MAX_ANSWER_BYTES } from '../../daemon/confirm/approver.ts';
import type { Question } from '../../daemon/confirm/question.ts';

const question = { v: 1, nonce: 'n', digest: 'd', expires_in: 1, view: { lines: ['a'] } } as unknown as Question;
const never = new AbortController().signal;

/** A dialog that does this with every connection once the question is there. */
const dialog = async (answer: (socket: Socket) => void): Promise<string> => {
  const root = mkdtempSync(join(tmpdir(), 'approver-'));
  const path = join(root, 's');
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => answer(socket));
  });
  server.listen(path);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    rmSync(root, { recursive: true, force: true });
  });
  return path;
};

test('the line that comes back is given without its newline, and what follows it is not', async () => {
  const path = await dialog((socket) => socket.end('first\nsecond\n'));
  expect(await askApprover(path, question, 5_000, never)).toEqual({ line: 'first' });
});

test('a line may come in pieces', async () => {
  const path = await dialog((socket) => {
    socket.write('fir');
    setImmediate(() => socket.end('st\n'));
  });
  expect(await askApprover(path, question, 5_000, never)).toEqual({ line: 'first' });
});

test('a dialog that goes without a whole line has not answered', async () => {
  const path = await dialog((socket) => socket.end('first'));
  expect(await askApprover(path, question, 5_000, never)).toEqual({ silence: 'no answer' });
});

test('a line at the limit is taken and a longer one is not', async () => {
  const exactly = await dialog((socket) => socket.end(`${'x'.repeat(MAX_ANSWER_BYTES - 1)}\n`));
  expect(await askApprover(exactly, question, 5_000, never)).toEqual({ line: 'x'.repeat(MAX_ANSWER_BYTES - 1) });
  const over = await dialog((socket) => socket.end(`${'x'.repeat(MAX_ANSWER_BYTES)}\n`));
  expect(await askApprover(over, question, 5_000, never)).toEqual({ silence: 'too long' });
});

test('silence lasts as long as the question and no longer', async () => {
  const path = await dialog(() => {});
  expect(await askApprover(path, question, 50, never)).toEqual({ silence: 'timeout' });
});

test('where nobody listens there is no dialog', async () => {
  expect(await askApprover('/nonexistent/confirm.sock', question, 5_000, never)).toEqual({ silence: 'no dialog' });
});

test('withdrawing closes the connection, so that the window goes away', async () => {
  const withdrawal = new AbortController();
  let gone = Promise.resolve<unknown>(null);
  const path = await dialog((socket) => {
    gone = once(socket, 'close');
    withdrawal.abort();
  });
  expect(await askApprover(path, question, 5_000, withdrawal.signal)).toEqual({ silence: 'withdrawn' });
  await gone;
});

test('a question that is withdrawn before it is asked is not asked', async () => {
  const path = await dialog(() => {
    throw new Error('asked');
  });
  expect(await askApprover(path, question, 5_000, AbortSignal.abort())).toEqual({ silence: 'withdrawn' });
});

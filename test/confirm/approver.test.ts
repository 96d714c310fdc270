import { getEventListeners, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Heard, MAX_ANSWER_BYTES, reachApprover } from '../../daemon/confirm/approver.ts';
import type { Question } from '../../daemon/confirm/question.ts';

const question = { v: 1, nonce: 'n', digest: 'd', expires_in: 1, view: { lines: ['a'] } } as unknown as Question;
const never = new AbortController().signal;

/** What is heard from who is reached at `path`; null where nobody is. */
const askApprover = async (path: string, ...asked: [Question, number, AbortSignal]): Promise<Heard | null> =>
  (await reachApprover(path))?.ask(...asked) ?? null;

/** A dialog that does this with every connection as soon as it is there. */
const listener = async (does: (socket: Socket) => void): Promise<string> => {
  const root = mkdtempSync(join(tmpdir(), 'approver-'));
  const path = join(root, 's');
  const server = createServer((socket) => {
    socket.on('error', () => {});
    does(socket);
  });
  server.listen(path);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    rmSync(root, { recursive: true, force: true });
  });
  return path;
};
/** A dialog that does this with every connection once the question is there. */
const dialog = (answer: (socket: Socket) => void): Promise<string> =>
  listener((socket) => socket.once('data', () => answer(socket)));

test('the line that comes back is given without its newline, and what follows it is not', async () => {
  const path = await dialog((socket) => socket.end('first\nsecond\n'));
  expect(await askApprover(path, question, 5_000, never)).toEqual({ line: 'first' });
});

test('a line may be empty', async () => {
  const path = await dialog((socket) => socket.end('\nsecond\n'));
  expect(await askApprover(path, question, 5_000, never)).toEqual({ line: '' });
});

/** Writes these one after the other, each when what came before it has been read. */
const inPieces = async (socket: Socket, ...pieces: string[]): Promise<void> => {
  for (const piece of pieces) {
    socket.write(piece);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
};

test('a line may come in pieces', async () => {
  const path = await dialog((socket) => void inPieces(socket, 'fi', 'rs', 't\n'));
  expect(await askApprover(path, question, 5_000, never)).toEqual({ line: 'first' });
});

test('a line that is too long in all is too long, however it comes', async () => {
  const half = 'x'.repeat(MAX_ANSWER_BYTES / 2);
  const path = await dialog((socket) => void inPieces(socket, half, half, '\n'));
  expect(await askApprover(path, question, 5_000, never)).toEqual({ silence: 'too long' });
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
  const endless = await dialog((socket) => socket.write('x'.repeat(MAX_ANSWER_BYTES)));
  expect(await askApprover(endless, question, 5_000, never)).toEqual({ silence: 'too long' });
});

test('what is over the limit but comes after the line does not count', async () => {
  const path = await dialog((socket) => socket.end(`first\n${'x'.repeat(2 * MAX_ANSWER_BYTES)}`));
  expect(await askApprover(path, question, 5_000, never)).toEqual({ line: 'first' });
});

test('the question is one line of JSON', async () => {
  let sent = '';
  const path = await listener((socket) =>
    socket.on('data', (chunk) => {
      sent += chunk;
      if (sent.endsWith('\n')) socket.end('x\n');
    }),
  );
  expect(await askApprover(path, question, 5_000, never)).toEqual({ line: 'x' });
  expect(sent.split('\n')).toEqual([JSON.stringify(question), '']);
});

test('an answer leaves no timer, no listener and no connection behind', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { signal } = new AbortController();
  let gone = Promise.resolve<unknown>(null);
  const path = await dialog((socket) => {
    gone = once(socket, 'close');
    socket.write('yes\n');
  });
  expect(await askApprover(path, question, 5_000, signal)).toEqual({ line: 'yes' });
  await gone;
  expect([vi.getTimerCount(), getEventListeners(signal, 'abort')]).toEqual([0, []]);
});

test('a question is waited for to the last moment of its time', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  let asked = (): void => {};
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const path = await dialog(() => asked());
  let heard: unknown = null;
  const answer = askApprover(path, question, 60_000, never).then((said) => {
    heard = said;
  });
  await isAsked;
  vi.advanceTimersByTime(59_999);
  await Promise.resolve();
  expect(heard).toBeNull();
  vi.advanceTimersByTime(1);
  await answer;
  expect(heard).toEqual({ silence: 'timeout' });
});

test('a dialog that dies before it has read the question has not answered', async () => {
  let come = (_: Socket): void => {};
  const dialogOf = new Promise<Socket>((resolve) => {
    come = resolve;
  });
  const path = await listener((socket) => come(socket.pause()));
  const approver = await reachApprover(path);
  const socket = await dialogOf;
  const heard = approver?.ask(question, 2_000, never);
  socket.destroy();
  expect(await heard).toEqual({ silence: 'no answer' });
});

test('silence lasts as long as the question and no longer', async () => {
  const path = await dialog(() => {});
  expect(await askApprover(path, question, 50, never)).toEqual({ silence: 'timeout' });
});

test('where nobody listens nobody is reached', async () => {
  expect(await reachApprover('/nonexistent/confirm.sock')).toBeNull();
});

test('who is left without a question was sent nothing, and sees the connection close', async () => {
  let sent = '';
  let gone = (): void => {};
  const isGone = new Promise<void>((resolve) => {
    gone = resolve;
  });
  const path = await listener((socket) => {
    socket.on('data', (chunk) => {
      sent += chunk;
    });
    socket.on('close', gone);
  });
  (await reachApprover(path))?.leave();
  await isGone;
  expect(sent).toBe('');
});

describe('while the words are being made', () => {
  /** What is asked of who has done this by then, and what is heard. */
  const askAfter = async (does: (socket: Socket) => void): Promise<Heard | undefined> => {
    let done = (): void => {};
    const isDone = new Promise<void>((resolve) => {
      done = resolve;
    });
    const path = await listener((socket) => {
      does(socket);
      done();
    });
    const approver = await reachApprover(path);
    await isDone;
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    return approver?.ask(question, 2_000, never);
  };

  test.each<[string, (socket: Socket) => void]>([
    ['went', (socket) => socket.destroy()],
    ['went in the middle of a line', (socket) => socket.end('too soon')],
    ['closed its own side alone', (socket) => socket.end()],
  ])('who %s has not answered, and is not waited for', async (_, does) => {
    expect(await askAfter(does)).toEqual({ silence: 'no answer' });
  });

  test('a line that came too soon is all that is heard: no answer to the question follows it', async () => {
    const line = await askAfter((socket) => {
      socket.write('yes\n');
      socket.once('data', () => socket.end('an answer\n'));
    });
    expect(line).toEqual({ line: 'yes' });
  });
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

// One question: read it, show it, sign what the person decided, go. Whatever goes wrong ends without an answer, which
// the broker takes for a no (I7).
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Statement } from '../confirm/question.ts';
import type { Toolkit } from './gtk.ts';
import { type Asked, lineCollector, readQuestion } from './incoming.ts';
import { type Seed, secretKeyOf } from './key.ts';
import { rehearse } from './rehearsal.ts';
import type { ScreenLock } from './screenlock.ts';
import { type Seat, takeSeat } from './screenseat.ts';
import { shownDigest, signedAnswer } from './statement.ts';
import { type QuestionWindow, questionWindow } from './window.ts';

/** The broker makes its words while it is waited for; whoever connects and stays silent holds nothing for long. */
const QUESTION_MS = 10_000;
/** Time for the answer to leave before the process goes. */
const FAREWELL_MS = 1_000;
const TICK_MS = 250;

export interface Setting {
  /** The file descriptor of the connection to the broker. */
  readonly connection: number;
  readonly seed: Seed;
  readonly acceptSynthetic: boolean;
  readonly display: string;
  readonly lock: ScreenLock;
  readonly uid: number;
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number;
}

type Verdict = Statement['verdict'];

/**
 * Answers the question that arrives on the connection and calls `leave` once, with null after an answer or a
 * withdrawal, or with the sentence that says why there was none. Must be called before Gtk.main() and returns at once.
 */
export const answerOneQuestion = (toolkit: Toolkit, setting: Setting, leave: (problem: string | null) => void) => {
  const { connection, seed, acceptSynthetic, display, lock, uid, now } = setting;
  const socket = new Socket({ fd: connection, readable: true, writable: true, allowHalfOpen: true });
  const collect = lineCollector();
  let asked: Asked | null = null;
  let window: QuestionWindow | null = null;
  let over = false;
  let halfClosed = false;
  let ticker: NodeJS.Timeout | undefined;
  let isShown = false;
  let seat: Seat | null = null;

  const silence = setTimeout(() => end('No question came over the connection.'), QUESTION_MS);

  socket.on('data', (chunk) => {
    const got = asked === null ? collect(chunk) : 'too much';
    if (got === 'too much') end('More came over the connection than one question.');
    else if (got !== 'more') begin(readQuestion(got.line));
  });
  socket.on('error', () => end(null));
  socket.on('close', () => end(null));
  socket.on('end', () => {
    halfClosed = true;
    if (asked === null || isGone()) end(null);
  });
  // A signal is a no: signed when the question is on the screen, silent before.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => (isShown ? decide('denied') : end(null)));
  }

  // In the second turn of the loop: a question, or the end, that is there already has been seen in the first, and waits for nothing.
  setImmediate(() =>
    setImmediate(() => {
      if (asked === null && !over) rehearse(toolkit);
    }),
  );

  const begin = async (read: ReturnType<typeof readQuestion>): Promise<unknown> => {
    clearTimeout(silence);
    if ('refused' in read) return end(read.refused);
    asked = read.asked;
    const deadline = now() + asked.expires_in * 1000;
    seat = await takeSeat(display, uid);
    if (over) return seat?.leave();
    if (seat === null) return end('Another question is on the screen.');
    const opened = questionWindow(
      toolkit,
      asked.view,
      { allow: () => decide('approved'), deny: () => decide('denied'), freeze: () => decide('denied', true) },
      { acceptSynthetic, now },
    );
    window = opened;
    lock.watch(toolkit, (locked) => {
      if (over) return;
      isShown = !locked;
      if (locked) opened.hide();
      else {
        const problem = opened.show();
        if (problem !== null) end(problem);
      }
    });
    const tick = () => {
      if (halfClosed && isGone()) return end(null);
      const left = deadline - now();
      if (left > 0) opened.countDown(Math.ceil(left / 1000));
      else if (isShown) decide('timeout');
      else end('The screen stayed locked until the question had expired.');
    };
    ticker = setInterval(tick, TICK_MS);
    tick();
  };

  const decide = (verdict: Verdict, freeze = false): unknown => {
    if (over || asked === null || window === null) return undefined;
    const lines = window.readBack();
    // What was shown is what is signed: lines that are not on the screen, or not these lines, get no signature (I5).
    if (lines === null || !isSame(lines, asked.view.lines)) return end('The window does not show the question.');
    const { nonce, digest } = asked;
    const statement: Statement = {
      v: 1,
      nonce,
      digest,
      shown: shownDigest(lines),
      verdict,
      decided_at: new Date().toISOString(),
      ...(freeze ? { freeze: true } : {}),
    };
    clearAway();
    socket.end(signedAnswer(statement, secretKeyOf(seed)), () => leave(null));
    setTimeout(() => leave(null), FAREWELL_MS);
  };

  const end = (problem: string | null): void => {
    if (over) return;
    clearAway();
    socket.destroy();
    leave(problem);
  };

  // The screen and the seat are free before the broker hears anything: its next question may follow at once.
  const clearAway = (): void => {
    over = true;
    clearTimeout(silence);
    clearInterval(ticker);
    lock.stop();
    window?.close();
    seat?.leave();
  };

  // After the asker has ended its side: an empty write fails once it has closed the connection altogether.
  const isGone = (): boolean => {
    try {
      writeSync(connection, Buffer.alloc(0));
      return false;
    } catch {
      return true;
    }
  };
};

const isSame = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((line, index) => line === others[index]);

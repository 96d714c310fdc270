// One question on a terminal: read it, show it, sign what was typed, go. What the window does (dialog/dialog.ts), by the same
// functions; whatever goes wrong ends without an answer, which the broker takes for a no (I7).
import type { Socket } from 'node:net';
import type { Statement } from '../../confirm/question.ts';
import { DEAD_MS } from '../../dialog/deadtime.ts';
import { type Asked, lineCollector, readQuestion } from '../../dialog/incoming.ts';
import { type Seed, secretKeyOf } from '../../dialog/key.ts';
import { shownDigest, signedAnswer } from '../../dialog/statement.ts';
import { type Key, typedWith } from './keys.ts';
import { type Room, type Sheet, sheetOf, wordToAllow, wordToFreeze } from './sheet.ts';

/** The broker makes its words while it is waited for; whoever connects and stays silent holds nothing for long. */
const QUESTION_MS = 10_000;
/** Time for the answer to leave. */
const FAREWELL_MS = 1_000;
/** All of it is written anew so often: a message of the kernel can scroll a console. */
const TICK_MS = 500;

export interface TurnParts {
  /** The connection to the broker; both sides open. */
  readonly socket: Socket;
  readonly seed: Seed;
  readonly room: () => Room;
  readonly write: (text: string) => void;
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number;
}

export interface Turn {
  readonly press: (key: Key) => void;
  /** The terminal has another size now. */
  readonly resized: () => void;
  /** A no: signed when the question is on the screen, silent before. */
  readonly stop: () => void;
  /** Resolves when it is over and the answer has left, with what became of it in a sentence; null when nothing was asked. */
  readonly over: Promise<string | null>;
}

type Verdict = Statement['verdict'];

export const takeTurn = ({ socket, seed, room, write, now }: TurnParts): Turn => {
  const collect = lineCollector();
  let asked: Asked | null = null;
  /** What is on the screen. */
  let sheet: Sheet | null = null;
  let isOver = false;
  let deadline = 0;
  let isAwake = false;
  let typed = '';
  let note = '';
  let ticker: NodeJS.Timeout | undefined;
  let waking: NodeJS.Timeout | undefined;
  let tell: (sentence: string | null) => void = () => {};
  const over = new Promise<string | null>((resolve) => {
    tell = resolve;
  });

  const silence = setTimeout(() => end(null), QUESTION_MS);
  socket.on('data', (chunk) => {
    const got = asked === null ? collect(chunk) : 'too much';
    if (got === 'too much') end('More came over the connection than one question. It was refused.');
    else if (got !== 'more') begin(readQuestion(got.line));
  });
  const gone = (): void => end(asked === null ? null : `The question was taken back: ${asked.view.lines[0]}`);
  socket.on('error', gone).on('end', gone).on('close', gone);

  const begin = (read: ReturnType<typeof readQuestion>): unknown => {
    clearTimeout(silence);
    if ('refused' in read) return end(`A question was refused unseen. ${read.refused}`);
    asked = read.asked;
    deadline = now() + asked.expires_in * 1000;
    write(BELL);
    ticker = setInterval(tick, TICK_MS);
    return show();
  };

  const show = (): unknown => {
    if (asked === null || isOver) return undefined;
    const made = sheetOf(asked.view, room());
    if (typeof made === 'string') return end(`A question was refused unseen. ${made} Make it larger.`);
    sheet = made;
    return sleep();
  };

  /** Nothing that was typed before the question could be read counts, nor what is typed on from there. */
  const sleep = (): void => {
    isAwake = false;
    typed = '';
    clearTimeout(waking);
    // After the timer once more around the event loop: keys that are waiting to be read are of before.
    waking = setTimeout(() => setImmediate(wake), DEAD_MS + 1);
    draw();
  };

  const wake = (): void => {
    if (isOver) return;
    isAwake = true;
    note = '';
    draw();
  };

  const tick = (): void => {
    if (now() < deadline) draw();
    else decide('timeout');
  };

  const draw = (): void => {
    if (sheet === null || isOver) return;
    const left = `${Math.max(0, Math.ceil((deadline - now()) / 1000))} s left. `;
    const hint = isAwake ? note : 'Read it first. Typing counts in a moment.';
    const rows = [...sheet.rows, left + hint, isAwake ? `> ${typed}` : ''];
    write(`${HOME}${rows.map((row) => row + CLEAR_ROW).join('\r\n')}${CLEAR_BELOW}`);
  };

  const press = (key: Key): unknown => {
    if (sheet === null || asked === null || isOver || key.kind === 'nothing') return undefined;
    // A no is safe from whenever it comes.
    if (key.kind === 'leave' || key.kind === 'escape') return decide('denied');
    if (!isAwake) return sleep();
    if (key.kind === 'enter') return enter(asked.view);
    typed = typedWith(typed, key);
    note = key.kind === 'together' ? 'Key by key: what came at once was dropped.' : '';
    return draw();
  };

  const enter = (view: Asked['view']): unknown =>
    typed === wordToAllow(view) ? decide('approved') : decide('denied', typed === wordToFreeze(view));

  const decide = (verdict: Verdict, freeze = false): unknown => {
    if (isOver) return undefined;
    if (asked === null || sheet === null) return end(null);
    const { nonce, digest, view } = asked;
    // What was shown is what is signed (I5).
    if (!isSame(sheet.lines, view.lines)) return end('The terminal does not show the question. It was refused.');
    const statement: Statement = {
      v: 1,
      nonce,
      digest,
      shown: shownDigest(sheet.lines),
      verdict,
      decided_at: new Date().toISOString(),
      ...(freeze ? { freeze: true } : {}),
    };
    clearAway();
    const sentence = `${freeze ? `Denied, and ${view.freeze} frozen` : OUTCOMES[verdict]}: ${view.lines[0]}`;
    const farewell = setTimeout(() => tell(sentence), FAREWELL_MS);
    return socket.end(signedAnswer(statement, secretKeyOf(seed)), () => {
      clearTimeout(farewell);
      tell(sentence);
    });
  };

  const end = (sentence: string | null): void => {
    if (isOver) return;
    clearAway();
    socket.destroy();
    tell(sentence);
  };

  const clearAway = (): void => {
    isOver = true;
    clearTimeout(silence);
    clearTimeout(waking);
    clearInterval(ticker);
  };

  return { press, resized: show, stop: () => decide('denied'), over };
};

const OUTCOMES: Readonly<Record<Verdict, string>> = {
  approved: 'Allowed',
  denied: 'Denied',
  timeout: 'Not answered in time, which is no',
};

const isSame = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((line, index) => line === others[index]);

const BELL = '\x07';
const HOME = '\x1b[H';
const CLEAR_ROW = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

// A person at a text console: the built qmcpctl on a real terminal of its own, what stands on its screen, and keys.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';
import { DEAD_MS } from '../../../daemon/dialog/deadtime.ts';
import type { Daemon } from '../../broker/daemon.ts';

const PROGRAM = fileURLToPath(new URL('../../../dist/qmcpctl.mjs', import.meta.url));
const PTY = fileURLToPath(new URL('on_terminal.py', import.meta.url));

export interface Sitting {
  readonly daemon: Daemon;
  /** The directory with the person's key. */
  readonly keys: string;
  readonly rows?: number;
  readonly columns?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** A line for a shell in which $APPROVE is the command, instead of the command itself. */
  readonly shell?: string;
}

/** What a shell on a text console has, whoever runs this. */
const CONSOLE = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', TERM: 'linux', LANG: 'C.UTF-8', NO_COLOR: '1' };

export class Console {
  readonly pid: Promise<number>;
  /** With the exit code, negative for a signal. */
  readonly exited: Promise<number>;
  /** All that was ever written. */
  written = '';
  readonly #send: (line: string) => void;
  #rows: string[] = [''];
  #at: [row: number, column: number] = [0, 0];

  constructor({ daemon, keys, rows = 24, columns = 80, env = {}, shell }: Sitting) {
    const command = [process.execPath, PROGRAM, 'approve', '--run', daemon.run, '--key', join(keys, 'key')];
    const program = shell ? ['/bin/sh', '-c', shell] : command;
    const child = spawn('/usr/bin/python3', [PTY, String(rows), String(columns), ...program], {
      env: { ...CONSOLE, ...env, ...(shell && { APPROVE: command.join(' ') }) },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdin.on('error', () => {});
    this.#send = (line) => void child.stdin.write(`${line}\n`);
    let began: (pid: number) => void = () => {};
    let ended: (code: number) => void = () => {};
    this.pid = new Promise((resolve) => {
      began = resolve;
    });
    this.exited = new Promise((resolve) => {
      ended = resolve;
    });
    // Whatever becomes of it, nobody waits for ever.
    const said = createInterface({ input: child.stdout }).once('close', () => ended(Number.NaN));
    said.on('line', (line) => {
      const [word = '', number] = line.split(' ');
      if (word === 'pid') began(Number(number));
      else if (word === 'exit') ended(Number(number));
      else this.#paint(Buffer.from(word, 'base64').toString('utf8'));
    });
    onTestFinished(async () => {
      this.#send('hangup');
      await this.exited;
    });
  }

  /** Keys one by one, each after the one before has been taken in. */
  async type(text: string): Promise<void> {
    for (const [index, letter] of [...text].entries()) {
      this.send(letter);
      const typed = text.slice(0, index + 1);
      await this.until(() => this.typed === typed, `"${typed}" typed`);
    }
  }

  /** Bytes, all at once. */
  send(bytes: string): void {
    this.#send(`send ${Buffer.from(bytes, 'latin1').toString('base64')}`);
  }

  resize(rows: number, columns: number): void {
    this.#send(`size ${rows} ${columns}`);
  }

  hangUp(): void {
    this.#send('hangup');
  }

  /** Until typing counts. */
  awake(): Promise<void> {
    return this.until(() => this.typed !== null, 'a prompt', DEAD_MS + 10_000);
  }

  waiting(): Promise<void> {
    return this.until(() => this.screen.includes('Waiting for questions.'), 'the wait for questions');
  }

  async until(holds: () => boolean, what: string, ms = 10_000): Promise<void> {
    await expect
      .poll(() => (holds() ? 'there' : `not ${what}, but: ${this.screen}`), { timeout: ms, interval: 20 })
      .toBe('there');
  }

  /** What stands there, without what is blank at the end; a row is as long as was written, however wide the terminal. */
  get screen(): string {
    return this.#rows
      .map((row) => row.trimEnd())
      .join('\n')
      .trimEnd();
  }

  /** What stands behind the prompt; null where there is none. */
  get typed(): string | null {
    return /^> (.*)$/.exec(this.#rows.at(-1) ?? '')?.[1] ?? null;
  }

  // A terminal as far as this program may drive one; anything else that it is sent fails the test.
  #paint(text: string): void {
    this.written += text;
    for (const [piece] of text.matchAll(PIECES)) this.#take(piece);
  }

  #take(piece: string): void {
    const [row, column] = this.#at;
    if (piece === '\x1b[H') this.#at = [0, 0];
    else if (piece === '\x1b[K') this.#rows[row] = (this.#rows[row] ?? '').slice(0, column);
    else if (piece === '\x1b[J') this.#rows = [...this.#rows.slice(0, row), (this.#rows[row] ?? '').slice(0, column)];
    else if (piece === '\r') this.#at = [row, 0];
    else if (piece === '\n') this.#at = [row + 1, column];
    else if (piece === '\x07' || COLOUR.test(piece)) return;
    else if (/^[ -~]$/.test(piece)) {
      const line = (this.#rows[row] ?? '').padEnd(column);
      this.#rows[row] = line.slice(0, column) + piece + line.slice(column + 1);
      this.#at = [row, column + 1];
    } else throw new Error(`the terminal was sent ${JSON.stringify(piece)}`);
    const [now] = this.#at;
    while (this.#rows.length <= now) this.#rows.push('');
  }
}

/** An escape sequence, or one character. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what drives a terminal.
const PIECES = /\u001b\[[0-9;]*[A-Za-z]|[\s\S]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what drives a terminal.
const COLOUR = /^\u001b\[[0-9;]*m$/;

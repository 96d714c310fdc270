// A stand-in for the dialog that answers as it is told, right or wrong. It has a key of its own and signs with tweetnacl.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import nacl from 'tweetnacl';
import { onTestFinished } from 'vitest';
import type { Question } from '../../daemon/confirm/question.ts';

export interface Asked {
  readonly question: Question;
  /** Sends an answer line (or anything else) and closes. */
  answer(line: string): void;
  approve(changes?: Record<string, unknown>): void;
  deny(changes?: Record<string, unknown>): void;
  /** Resolves when the broker has closed the connection. */
  readonly gone: Promise<void>;
}

const shownText = (lines: readonly string[]): string =>
  createHash('sha512').update(lines.join('\n')).digest('base64url');

export class Approver {
  readonly keys = nacl.sign.keyPair.fromSeed(randomBytes(32));
  readonly publicKey = Buffer.from(this.keys.publicKey).toString('base64');
  readonly questions: Question[] = [];
  open = 0;
  mostOpen = 0;
  #server: Server | null = null;
  readonly #here = new Set<Socket>();
  readonly #unclaimed: Asked[] = [];
  readonly #awaiting: ((asked: Asked) => void)[] = [];
  readonly #deserters: (() => void)[] = [];
  #deserted = 0;
  /** Answers every question at once where it is set. */
  reflex: ((asked: Asked) => void) | null = null;
  /** Sent to everybody who comes, before any question. */
  greeting = '';

  async listen(path: string): Promise<void> {
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.listen(path);
    await once(this.#server, 'listening');
  }

  close(): void {
    this.#server?.close();
  }

  /** Closes the connection of whoever is there, without an answer. */
  hangUp(): void {
    for (const socket of this.#here) socket.destroy();
  }

  /** The next question that nobody took yet. */
  next(): Promise<Asked> {
    const asked = this.#unclaimed.shift();
    return asked ? Promise.resolve(asked) : new Promise((resolve) => this.#awaiting.push(resolve));
  }

  /** Resolves when somebody came and went without a question. */
  left(): Promise<void> {
    return this.#deserted > 0 ? Promise.resolve() : new Promise((told) => this.#deserters.push(told));
  }

  statement(question: Question, verdict: string, changes: Record<string, unknown> = {}): string {
    const { nonce, digest, view } = question;
    const shown = shownText(view.lines);
    return JSON.stringify({ v: 1, nonce, digest, shown, verdict, decided_at: new Date().toISOString(), ...changes });
  }

  signed(statement: string, { keys = this.keys, context = 'qmcp-confirm-v1\0' } = {}): string {
    const signature = nacl.sign.detached(Buffer.from(context + statement), keys.secretKey);
    return JSON.stringify({ statement, signature: Buffer.from(signature).toString('base64') });
  }

  #accept(socket: Socket): void {
    let text = '';
    this.open += 1;
    this.#here.add(socket);
    this.mostOpen = Math.max(this.mostOpen, this.open);
    const gone = new Promise<void>((resolve) => {
      socket.on('close', () => {
        this.open -= 1;
        this.#here.delete(socket);
        resolve();
        if (text !== '') return;
        this.#deserted += 1;
        for (const told of this.#deserters.splice(0)) told();
      });
    });
    socket.on('error', () => {});
    if (this.greeting !== '') socket.write(this.greeting);
    socket.on('data', (chunk) => {
      text += chunk;
      if (!text.endsWith('\n')) return;
      const question = JSON.parse(text) as Question;
      this.questions.push(question);
      const answer = (line: string): void => {
        socket.end(line);
      };
      const asked: Asked = {
        question,
        gone,
        answer,
        approve: (changes) => answer(`${this.signed(this.statement(question, 'approved', changes))}\n`),
        deny: (changes) => answer(`${this.signed(this.statement(question, 'denied', changes))}\n`),
      };
      if (this.reflex) this.reflex(asked);
      else {
        const taker = this.#awaiting.shift();
        if (taker) taker(asked);
        else this.#unclaimed.push(asked);
      }
    });
  }
}

/** An approver on a socket path, gone when the test ends. */
export const startApprover = async (path: string): Promise<Approver> => {
  const approver = new Approver();
  await approver.listen(path);
  onTestFinished(() => approver.close());
  return approver;
};

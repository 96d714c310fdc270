// Asks the built dialog as the broker does, over a socket, and knows what came back.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Question, View } from '../../daemon/confirm/question.ts';
import { checkReceipt } from '../../daemon/confirm/receipt.ts';
import type { Digest, Nonce, QubeName } from '../../daemon/names.ts';
import { enroll, startListener } from '../end-to-end/dialog-program.ts';

export const TARGET = 'ai-work';

export const REMOVE: View = {
  lines: [
    'Remove ai-work (red)',
    'Asked by: mcp-control (black), default agent',
    'Qube: AppVM, not running',
    'It and all its files are destroyed at once. This cannot be undone.',
  ],
  marks: [
    { line: 0, start: 7, end: 14, label: 'red' },
    { line: 1, start: 10, end: 21, label: 'black' },
  ],
  type_to_confirm: TARGET as QubeName,
  risk: 'destroy',
};

/** A question that a button answers. */
export const START: View = {
  ...REMOVE,
  lines: ['Start ai-work (red)', 'Asked by: mcp-control (black), default agent', 'It runs until it is shut down.'],
  marks: [],
  type_to_confirm: null,
  risk: 'change',
};

export const question = (view: View = REMOVE, expiresIn = 60): Question => ({
  v: 1,
  nonce: 'a'.repeat(64) as Nonce,
  digest: 'b'.repeat(64) as Digest,
  expires_in: expiresIn,
  view,
});

export type Heard = 'approved' | 'denied' | 'denied and frozen' | 'timeout' | 'nothing' | `worthless: ${string}`;

export interface Asked {
  readonly socket: Socket;
  /** What came back until the connection closed, as the broker would take it. */
  readonly heard: Promise<Heard>;
}

export interface Dialog {
  readonly socket: string;
  readonly key: string;
  /** Of the listener. */
  readonly pid: number;
  /** The sentences that it and its windows complained with. */
  readonly complaints: readonly string[];
  readonly ask: (asked?: Question | string) => Asked;
  readonly stop: () => Promise<void>;
}

/** A listener with a fresh key whose windows appear where `env` says. */
export const startDialog = async (env: NodeJS.ProcessEnv, acceptSynthetic: boolean): Promise<Dialog> => {
  const directory = mkdtempSync(join(tmpdir(), 'qmcp-dialog-'));
  const [socket, key, publicFile] = ['s', 'key', 'pub'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  await enroll(key, publicFile);
  const publicKey = Buffer.from(readFileSync(publicFile, 'utf8'), 'base64');
  const complaints: string[] = [];
  const listener = await startListener({ socket, key, env, acceptSynthetic }, (line) => complaints.push(line));
  return {
    socket,
    key,
    pid: listener.pid,
    complaints,
    ask: (asked = question()) => askOn(connect({ path: socket, allowHalfOpen: true }), asked, publicKey),
    stop: async () => {
      await listener.stop();
      rmSync(directory, { recursive: true });
    },
  };
};

/** Sends a question, or any bytes, on a connection to a dialog. */
export const askOn = (socket: Socket, asked: Question | string, publicKey: Uint8Array): Asked => {
  socket.on('error', () => {});
  socket.write(typeof asked === 'string' ? asked : `${JSON.stringify(asked)}\n`);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  socket.on('end', () => socket.end());
  const heard = new Promise((close) => socket.once('close', close)).then((): Heard => {
    if (text === '') return 'nothing';
    if (typeof asked === 'string' || !/^[^\n]+\n$/.test(text)) return `worthless: ${text}`;
    const checked = checkReceipt(text.trimEnd(), asked, publicKey);
    if (checked.answer === 'unavailable') return `worthless: ${checked.reason}`;
    if (checked.freeze)
      return checked.answer === 'denied' ? 'denied and frozen' : `worthless: frozen, ${checked.answer}`;
    return checked.answer;
  });
  return { socket, heard };
};

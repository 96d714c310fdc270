// qmcpctl: what the operator does in a dom0 terminal. Each verb is a definition in a table (verbs.ts); see `--help` of each.
import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { type Io, Refusal, runCommand } from './command.ts';
import { QMCPCTL } from './verbs.ts';

/** More than any file that an operator would hand over. */
const MAX_INPUT_BYTES = 1_048_576;

const io: Io = {
  async out(text) {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain');
  },
  err: (text) => process.stderr.write(text),
  watched: process.stderr.isTTY === true,
  // https://no-color.org: any value but the empty one.
  colour: process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
  async ask(question) {
    if (!process.stdin.isTTY || !process.stderr.isTTY) return null;
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    try {
      const ended = new Promise<null>((resolve) => terminal.once('close', () => resolve(null)));
      return await Promise.race([terminal.question(question), ended]);
    } finally {
      terminal.close();
    }
  },
  async input() {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of process.stdin) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_INPUT_BYTES) throw new Refusal('There is more on standard input than any setting takes.');
    }
    // As files are read: comments may be in any encoding, and are written as they came.
    return Buffer.concat(chunks).toString('latin1');
  },
  now: Date.now,
};

// Whoever reads the output may have seen enough (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
const [first, ...rest] = process.argv.slice(2);
const args = first === '--version' || first === '-V' ? ['version', ...rest] : process.argv.slice(2);
process.exitCode = await runCommand(QMCPCTL, args, io);

// The door itself, on a real socket: the same bytes in other pieces give the same call, and one line or none comes back.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Call, openDoor } from '../../../daemon/qrexec/door.ts';
import { MAX_HEADER_BYTES, parseBody, parseHeader } from '../../../daemon/qrexec/frame.ts';
import { headed, type Target } from '../target.ts';
import { frameTarget } from './frame.ts';

/** The first line says after which bytes the caller pauses for a turn: numbers, separated by commas. */
export const doorTarget: Target = {
  name: 'door',
  what: 'the door on its socket: any bytes in any pieces give the call that the parsers read, once, and one line or none',
  words: frameTarget.words ?? [],
  seeds: frameTarget.seeds.flatMap((seed) => [`\n${seed}`, `1,2,3\n${seed}`, `30,40\n${seed}`]),
  open: async () => {
    const root = mkdtempSync(join(tmpdir(), 'fuzz-'));
    const path = join(root, 's');
    const calls: Call[] = [];
    const door = openDoor((call) => {
      calls.push(call);
      return { ok: true, got: calls.length };
    });
    door.server.listen(path);
    await once(door.server, 'listening');
    return {
      check: async (input) => {
        const [head, bytes] = headed(input);
        calls.length = 0;
        const reply = await exchange(path, pieces(head, bytes));
        const expected = callIn(bytes);
        assert.deepEqual(calls, expected ? [expected] : []);
        assert.equal(reply, expected ? '{"ok":true,"got":1}\n' : '');
        assert.ok(door.calls() <= 1, 'no connection stays behind');
      },
      close: async () => {
        await door.close();
        rmSync(root, { recursive: true, force: true });
      },
    };
  },
};

const callIn = (bytes: Buffer): Call | null => {
  const end = bytes.indexOf(0);
  const header = end < 0 || end > MAX_HEADER_BYTES ? null : parseHeader(bytes.subarray(0, end));
  return header && { ...header, body: parseBody(bytes.subarray(end + 1)) };
};

const MOST_PIECES = 8;

const pieces = (head: string, bytes: Buffer): Buffer[] => {
  const cuts = head
    .split(',')
    .slice(0, MOST_PIECES)
    .map(Number)
    .filter((at) => Number.isInteger(at) && at > 0 && at < bytes.length)
    .sort((a, b) => a - b);
  return [0, ...cuts].map((from, index) => bytes.subarray(from, cuts[index]));
};

const exchange = (path: string, chunks: readonly Buffer[]): Promise<string> =>
  new Promise((resolve, reject) => {
    let received = '';
    const socket = createConnection({ path, allowHalfOpen: true }, async () => {
      for (const chunk of chunks) {
        if (socket.writable) socket.write(chunk);
        if (chunks.length > 1) await new Promise((turn) => setImmediate(turn));
      }
      if (socket.writable) socket.end();
    });
    socket.on('data', (chunk) => {
      received += chunk.toString('utf8');
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(received));
    // A header that is none is answered by closing, whatever else was on its way.
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code !== 'EPIPE' && code !== 'ECONNRESET') reject(new Error(`the socket: ${code}`));
    });
  });

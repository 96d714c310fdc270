import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { MAX_REQUEST_BYTES, PROTOCOL } from '../../daemon/control/protocol.ts';
import { type Control, done, MAX_CONNECTIONS, openControl } from '../../daemon/control/socket.ts';
import { ask, exchange } from './ask.ts';

const open = async (control: Control, deadlines: { sendDeadlineMs?: number; workDeadlineMs?: number } = {}) => {
  const dir = mkdtempSync(join(tmpdir(), 'control-'));
  const path = join(dir, 'control.sock');
  const faults: unknown[] = [];
  const door = openControl(control, { version: '9.9', unplanned: (error) => faults.push(error), ...deadlines });
  door.server.listen(path);
  await once(door.server, 'listening');
  onTestFinished(() => {
    door.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return { path, faults, door };
};

const echo: Control = async ({ verb, args }) => done({ verb, args });

test('a request is one line, and so is its answer, which says who gave it', async () => {
  const { path } = await open(echo);
  const text = await exchange(path, '{"v":1,"verb":"hello"}\n');
  expect(text).toBe('{"v":1,"version":"9.9","ok":true,"result":{"verb":"hello","args":{}}}\n');
});

test('a request may come in pieces', async () => {
  const { path } = await open(echo);
  const socket = createConnection({ path });
  await once(socket, 'connect');
  socket.write('{"v":1,"ver');
  await new Promise((resolve) => setImmediate(resolve));
  socket.write('b":"x"}\n');
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  expect(JSON.parse(chunk.toString())).toMatchObject({ ok: true, result: { verb: 'x' } });
});

const NONSENSE = 'The daemon could not make sense of that request.';
test.each([
  ['is not JSON', 'hello\n'],
  ['is not an object', '[]\n'],
  ['has no verb', '{"v":1}\n'],
  ['has arguments that are no object', '{"v":1,"verb":"x","args":[]}\n'],
  ['has a field that nobody knows', '{"v":1,"verb":"x","nonce":"0"}\n'],
])('a request that %s is declined in a sentence', async (_, line) => {
  const { path } = await open(echo);
  expect(JSON.parse(await exchange(path, line))).toEqual({ v: PROTOCOL, version: '9.9', ok: false, error: NONSENSE });
});

test('another version of the protocol is told which one is spoken', async () => {
  const { path } = await open(echo);
  expect(JSON.parse(await exchange(path, '{"v":2,"verb":"hello"}\n'))).toMatchObject({
    v: PROTOCOL,
    ok: false,
    error: 'The daemon speaks version 1 of the control protocol, not 2.',
  });
});

test('the longest request is read, and one byte more is not', async () => {
  const { path } = await open(async ({ args }) => done({ length: String(args.x).length }));
  const frame = '{"v":1,"verb":"x","args":{"x":""}}\n';
  const request = (length: number): string => frame.replace('""', `"${'a'.repeat(length - frame.length)}"`);
  const longest = JSON.parse(await exchange(path, request(MAX_REQUEST_BYTES)));
  expect(longest).toMatchObject({ ok: true, result: { length: MAX_REQUEST_BYTES - frame.length } });
  expect(await exchange(path, request(MAX_REQUEST_BYTES + 1))).toBe('');
});

test.each([
  ['more than one line', '{"v":1,"verb":"x"}\n{"v":1,"verb":"y"}\n'],
  ['half a line and an end', null],
])('%s is closed upon without an answer', async (_, text) => {
  const { path } = await open(echo);
  if (text !== null) {
    expect(await exchange(path, text)).toBe('');
    return;
  }
  const socket = createConnection({ path, allowHalfOpen: true });
  await once(socket, 'connect');
  socket.end('{"v":1');
  socket.resume();
  const [hadError] = await once(socket, 'close');
  expect(hadError).toBe(false);
});

test('who says nothing is closed upon in time', async () => {
  const { path } = await open(echo, { sendDeadlineMs: 30 });
  expect(await exchange(path, '')).toBe('');
});

test('so many requests are under way at once and no more, and places become free again', async () => {
  const holds: (() => void)[] = [];
  const { path } = await open(({ verb }) =>
    verb === 'hold' ? new Promise((resolve) => holds.push(() => resolve(done({})))) : Promise.resolve(done({})),
  );
  const held = Array.from({ length: MAX_CONNECTIONS }, () => ask(path, 'hold'));
  while (holds.length < MAX_CONNECTIONS) await new Promise((resolve) => setImmediate(resolve));
  expect(await ask(path, 'x')).toMatchObject({ ok: false, error: expect.stringContaining('Try again in a moment') });
  for (const end of holds) end();
  expect(await Promise.all(held)).toHaveLength(MAX_CONNECTIONS);
  expect(await ask(path, 'x')).toMatchObject({ ok: true });
});

test('what nobody planned becomes a sentence, and the log learns of it', async () => {
  const { path, faults } = await open(() => Promise.reject(new Error('secret')));
  const answer = await ask(path, 'x');
  expect(answer).toMatchObject({ ok: false, error: expect.stringContaining('journalctl -u qmcp-brokerd') });
  expect(JSON.stringify(answer)).not.toContain('secret');
  expect(faults).toEqual([new Error('secret')]);
});

test('work that takes too long is answered before it ends', async () => {
  const { path } = await open(() => new Promise(() => {}), { workDeadlineMs: 20 });
  expect(await ask(path, 'x')).toMatchObject({ ok: false, error: expect.stringContaining('not done in time') });
});

test('closing ends what is open', async () => {
  const { path, door } = await open(() => new Promise(() => {}));
  const open_ = exchange(path, '{"v":1,"verb":"x"}\n');
  await new Promise((resolve) => setTimeout(resolve, 30));
  door.close();
  expect(await open_).toBe('');
});

// A daemon that is down, hangs, is of another version, or is not one: every verb says so, soon and in one sentence.
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runCommand } from '../../daemon/operator/command.ts';
import { QMCPCTL } from '../../daemon/operator/verbs.ts';
import { startDaemon } from '../broker/daemon.ts';
import { qmcpctlOf } from './stage.ts';

/** Those that cannot do without the daemon, with the arguments that bring them to ask it. */
const ASKING: readonly (readonly string[])[] = [
  ['status'],
  ['pending'],
  ['freeze', 'mcp-control'],
  ['thaw', 'mcp-control'],
  ['explain', 'qmcp.GetPoolStats'],
  ['tier', 'set', 'vault', 'exec'],
  ['tombstones', 'list'],
  ['tombstones', 'restore', 'vault'],
  ['tombstones', 'reap'],
  ['undo', 'list'],
  ['undo', '1'],
];

const SOON_MS = 1_700;

const at = async (run: string, args: readonly string[]) => {
  const began = performance.now();
  let [out, err] = ['', ''];
  const code = await runCommand(QMCPCTL, [...args, '--run', run], {
    out: async (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    ...{ watched: false, colour: false, ask: async () => null, input: async () => '', now: Date.now },
  });
  return { code, out, err, took: performance.now() - began };
};

const directory = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-absent-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

/** Something that listens where the daemon would. */
const impostor = async (answer: (socket: Socket, line: string) => void): Promise<string> => {
  const dir = directory();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => answer(socket, chunk.toString()));
  });
  server.listen(join(dir, 'control.sock'));
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return dir;
};

const isOneSentence = (text: string): void => expect(text.split('\n').filter(Boolean)).toHaveLength(1);

test.each(ASKING)('%s %s: a daemon that is down', async (...args) => {
  const { code, out, err, took } = await at(directory(), args);
  expect({ code, out }).toEqual({ code: 1, out: '' });
  expect(err).toMatch(
    /^The daemon is not running: nobody answers on .*\. To start it: sudo systemctl start qmcp-brokerd\n$/,
  );
  isOneSentence(err);
  expect(took).toBeLessThan(SOON_MS);
});

test.each(ASKING)('%s %s: a daemon that hangs', async (...args) => {
  const { code, out, err, took } = await at(await impostor(() => {}), args);
  expect({ code, out }).toEqual({ code: 1, out: '' });
  expect(err).toMatch(/^The daemon does not answer on .*systemctl restart qmcp-brokerd\n$/);
  isOneSentence(err);
  expect(took).toBeLessThan(SOON_MS);
});

test.each(ASKING)('%s %s: a daemon that speaks another protocol', async (...args) => {
  const dir = await impostor((socket) => socket.end('{"v":2,"version":"9.9","ok":true,"result":{}}\n'));
  const { code, out, err } = await at(dir, args);
  expect({ code, out }).toEqual({ code: 1, out: '' });
  expect(err).toMatch(/^The daemon is of version 9\.9, qmcpctl of .*systemctl restart qmcp-brokerd\n$/);
});

test('a daemon of another version that speaks the same protocol is named, and answers', async () => {
  const dir = await impostor((socket, line) => {
    const result = line.includes('"hello"') ? { pid: 1, uptime_s: 1 } : { open: null, waiting: [] };
    socket.end(`${JSON.stringify({ v: 1, version: '0.0.9', ok: true, result })}\n`);
  });
  const { code, out, err } = await at(dir, ['pending']);
  expect({ code, out }).toEqual({ code: 0, out: 'No question is open.\n' });
  expect(err).toMatch(/^The daemon is of version 0\.0\.9/);
});

test.each([
  ['garbage', 'garbage\n'],
  ['nothing', ''],
  ['an answer of another shape', '{"v":1,"version":"0.1.0","ok":true,"result":{"pid":"me"}}\n'],
])('somebody who answers %s is not believed', async (_, text) => {
  const { code, err } = await at(await impostor((socket) => socket.end(text)), ['status']);
  expect(code).toBe(1);
  expect(err).toMatch(/^The daemon answers in a way that qmcpctl .* does not understand/);
});

test('what a daemon that was taken over says cannot drive the terminal', async () => {
  const dir = await impostor((socket) =>
    socket.end(`${JSON.stringify({ v: 1, version: '0.1.0', ok: false, error: 'a\u001b[2Jb\u202ec' })}\n`),
  );
  expect((await at(dir, ['status'])).err).toBe('a?[2Jb?c\n');
});

test('a socket that is not open to this user is said to be so', async () => {
  const dir = directory();
  mkdirSync(join(dir, 'control.sock'));
  expect((await at(dir, ['status'])).err).toMatch(/control\.sock/);
});

test('the real daemon, stopped in its tracks, is noticed; and what needs no daemon goes on', async () => {
  const { daemon } = await startDaemon();
  const run = qmcpctlOf(daemon);
  daemon.process?.kill('SIGSTOP');
  onTestFinished(() => void daemon.process?.kill('SIGCONT'));
  expect(await run('status')).toMatchObject({ code: 1, err: expect.stringContaining('does not answer') });
  const set = await run('config', 'set', 'pool-cap', '1GiB');
  expect(set).toMatchObject({ code: 0, err: expect.stringContaining('The settings are written') });
  for (const args of [['config', 'list'], ['tier', 'show'], ['audit', 'tail'], ['version'], ['config', 'restore']]) {
    expect((await run(...args)).code, args.join(' ')).toBe(0);
  }
  daemon.process?.kill('SIGCONT');
}, 30_000);

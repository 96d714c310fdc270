// The built program from the outside: how it is started, and what it says when it cannot do its work.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { enroll } from '../end-to-end/dialog-program.ts';
import { Screen } from '../end-to-end/screen.ts';
import { askOn, question } from './asking.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/qmcp-confirm.cjs', import.meta.url));

let screen: Screen;
beforeAll(async () => {
  screen = await Screen.start();
});
afterAll(() => screen?.stop());

let directory: string;
let key: string;
let publicFile: string;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'qmcp-start-'));
  [key, publicFile] = [join(directory, 'key'), join(directory, 'pub')];
  await enroll(key, publicFile);
  onTestFinished(() => rmSync(directory, { recursive: true }));
});
const publicKey = () => Buffer.from(readFileSync(publicFile, 'utf8'), 'base64');

/** Runs to its end; its exit status and what it said on both streams. */
const run = async (args: string[], env: NodeJS.ProcessEnv = screen.env) => {
  const child = spawn(process.execPath, [PROGRAM, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, error] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    error += chunk;
  });
  const [status] = await once(child, 'close');
  return { status, out, error };
};

/** Two ends of one connection. */
const connection = async (): Promise<[Socket, Socket]> => {
  const path = join(directory, 'pair');
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(path);
  const accepted = once(server, 'connection');
  const ours = connect({ path, allowHalfOpen: true });
  const [theirs] = await accepted;
  server.close();
  return [ours, theirs];
};

/** As systemd starts an instance of a socket unit with Accept=yes: the connection on descriptor 3, and two variables. */
const activated = (theirs: Socket, env: NodeJS.ProcessEnv, args: string[] = []): ChildProcess => {
  const script = 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=connection exec "$@"';
  const child = spawn('sh', ['-c', script, 'sh', process.execPath, PROGRAM, '--key', key, ...args], {
    env,
    stdio: ['ignore', 'ignore', 'pipe', theirs],
  });
  theirs.destroy();
  return child;
};

const lastWords = async (child: ChildProcess): Promise<string> => {
  let words = '';
  child.stderr?.on('data', (chunk) => {
    words += chunk;
  });
  await once(child, 'close');
  return words;
};

test('a connection passed by a socket unit is answered, and the process goes with status 0', async () => {
  const [ours, theirs] = await connection();
  const child = activated(theirs, screen.env);
  const exited = once(child, 'exit');
  const { heard } = askOn(ours, question(), publicKey());
  const window = await screen.window();
  expect(window.pid).toBe(child.pid);
  await window.focus();
  await window.press('Escape');
  expect(await heard).toBe('denied');
  expect(await exited).toEqual([0, null]);
});

/** What can be done before the question is there is done: a window has been measured, for which letters are needed. */
const isPrepared = (child: ChildProcess): Promise<void> =>
  screen.look('a font in use', async () => /\.[ot]tf$/m.test(readFileSync(`/proc/${child.pid}/maps`, 'utf8')));

test('a question that comes long after its connection is prepared for, and shown alone', async () => {
  screen.mostOpen = 0;
  const [ours, theirs] = await connection();
  const child = activated(theirs, screen.env);
  await isPrepared(child);
  expect(screen.mostOpen).toBe(0);
  const { heard } = askOn(ours, question(), publicKey());
  const window = await screen.window();
  expect(window.pid).toBe(child.pid);
  await window.focus();
  await window.press('Escape');
  expect(await heard).toBe('denied');
  expect(screen.mostOpen).toBe(1);
});

test.each([
  ['at once', async () => {}],
  ['later', isPrepared],
])(
  'a connection that closes %s without a question ends the process, silently, with status 0 and no window',
  async (_, until) => {
    screen.mostOpen = 0;
    const [ours, theirs] = await connection();
    const child = activated(theirs, screen.env);
    const exited = once(child, 'exit');
    const words = lastWords(child);
    await until(child);
    ours.end();
    expect(await exited).toEqual([0, null]);
    expect(await words).toBe('');
    expect(screen.mostOpen).toBe(0);
  },
);

test('below a socket unit synthetic input cannot be switched on', async () => {
  const [ours, theirs] = await connection();
  const child = activated(theirs, screen.env, ['--accept-synthetic-input']);
  const { heard } = askOn(ours, question(), publicKey());
  expect(await lastWords(child)).toContain('--accept-synthetic-input is for demos and tests: remove it from the unit.');
  expect(await heard).toBe('nothing');
});

test.each<[string, () => NodeJS.ProcessEnv, () => void, string]>([
  ['a key', () => screen.env, () => rmSync(key), 'Make one with qmcp-confirm --enroll'],
  ['a key of its own', () => screen.env, () => chmodSync(key, 0o644), 'chmod 600'],
  ['a display', () => ({ ...screen.env, DISPLAY: '' }), () => {}, 'There is no display'],
  ['a display that answers', () => ({ ...screen.env, DISPLAY: ':9876' }), () => {}, 'There is no display'],
])('without %s a question gets no answer, and the reason is said', async (_, env, prepare, reason) => {
  prepare();
  const [ours, theirs] = await connection();
  const child = activated(theirs, env());
  const { heard } = askOn(ours, question(), publicKey());
  expect(await lastWords(child)).toContain(reason);
  expect(await heard).toBe('nothing');
});

test('without a connection it explains itself', async () => {
  expect(await run([])).toEqual({
    status: 2,
    out: '',
    error: 'qmcp-confirm: There is no connection to answer on. See qmcp-confirm --help.\n',
  });
  const { status, out } = await run(['--help']);
  expect([status, out]).toEqual([0, expect.stringContaining('--enroll')]);
});

test('enrolment prints the public half, and refuses to replace a key unless told to rotate', async () => {
  const fresh = join(directory, 'fresh', 'key');
  const first = await run(['--enroll', '--key', fresh]);
  expect(first).toEqual({ status: 0, out: expect.stringMatching(/^[A-Za-z0-9+/]{43}=\n$/), error: '' });
  expect(statSync(fresh).mode & 0o777).toBe(0o600);
  const again = await run(['--enroll', '--key', fresh]);
  expect(again).toMatchObject({ status: 1, out: '', error: expect.stringContaining('--rotate') });
  const rotated = await run(['--enroll', '--rotate', '--key', fresh]);
  expect(rotated.status).toBe(0);
  expect(rotated.out).not.toBe(first.out);
});

test('without --key the key lies in the data directory of the user', async () => {
  const env = { ...screen.env, XDG_DATA_HOME: directory };
  expect((await run(['--enroll'], env)).status).toBe(0);
  expect(statSync(join(directory, 'qmcp-confirm', 'key')).mode & 0o777).toBe(0o600);
});

test('the listener is for its owner alone, takes over a socket left behind, and not one in use', async () => {
  const socket = join(directory, 'listen');
  const listener = () => spawn(process.execPath, [PROGRAM, '--listen', socket, '--key', key], { env: screen.env });
  const first = listener();
  await once(first.stdout, 'data');
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  first.kill('SIGKILL');
  await once(first, 'exit');
  const second = listener();
  await once(second.stdout, 'data');
  const third = await run(['--listen', socket, '--key', key]);
  expect(third).toMatchObject({ status: 1, error: expect.stringContaining('Another process is listening') });
  second.kill('SIGTERM');
  expect(await once(second, 'exit')).toEqual([0, null]);
});

test('a listener that is told to end takes its windows along, as denials', async () => {
  const socket = join(directory, 'listen');
  const listener = spawn(process.execPath, [PROGRAM, '--listen', socket, '--key', key], { env: screen.env });
  await once(listener.stdout, 'data');
  const { heard } = askOn(connect({ path: socket, allowHalfOpen: true }), question(), publicKey());
  await screen.window();
  listener.kill('SIGTERM');
  expect(await heard).toBe('denied');
  expect(await once(listener, 'exit')).toEqual([0, null]);
});

test('no accessibility bus is joined, where any other GTK program would', async () => {
  const bus = join(directory, 'bus');
  let joined = 0;
  const server = createServer((visitor) => {
    joined += 1;
    visitor.destroy();
  }).listen(bus);
  onTestFinished(() => void server.close());
  const env = { ...screen.env, AT_SPI_BUS_ADDRESS: `unix:path=${bus}`, NO_AT_BRIDGE: '0' };
  const [ours, theirs] = await connection();
  activated(theirs, env);
  const { heard } = askOn(ours, question(), publicKey());
  const window = await screen.window();
  await window.focus();
  await window.press('Escape');
  expect(await heard).toBe('denied');
  expect(joined).toBe(0);
  const other = spawn(process.execPath, ['-e', PLAIN_WINDOW], { env, stdio: 'ignore' });
  onTestFinished(() => void other.kill());
  await expect.poll(() => joined, { timeout: 5_000 }).toBeGreaterThan(0);
});

const PLAIN_WINDOW = `
  delete process.env.NO_AT_BRIDGE;
  const Gtk = require('node-gtk').require('Gtk', '3.0');
  Gtk.init([]);
  new Gtk.Window({ title: 'plain' }).show();
  Gtk.main();
`;

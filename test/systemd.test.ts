import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, test } from 'vitest';
import type { Tools } from '../daemon/qubesadmin/tool.ts';
import { notifierIn, passedSocket, reportReady, watchdogMs } from '../daemon/systemd.ts';
import { call } from './broker/caller.ts';
import { startQubesd } from './qubesd/server.ts';

const PID = 4711;

describe('a socket is taken from systemd', () => {
  const passed = { LISTEN_PID: `${PID}`, LISTEN_FDS: '2', LISTEN_FDNAMES: 'control:qrexec' };

  it('by its name', () => {
    expect(passedSocket('control', passed, PID)).toBe(3);
    expect(passedSocket('qrexec', passed, PID)).toBe(4);
  });

  it.each([
    ['none was passed', {}],
    ['those passed were for the process that started this one', { ...passed, LISTEN_PID: '4710' }],
    ['none has that name', { ...passed, LISTEN_FDNAMES: 'control:other' }],
    ['the names are missing', { ...passed, LISTEN_FDNAMES: undefined }],
    ['fewer were passed than named', { ...passed, LISTEN_FDS: '1' }],
    ['their number is no number', { ...passed, LISTEN_FDS: 'two' }],
  ])('but not when %s', (_, env) => {
    expect(passedSocket('qrexec', env, PID)).toBe(null);
  });
});

describe('the watchdog', () => {
  it('has the interval that systemd set for this process', () => {
    expect(watchdogMs({ WATCHDOG_USEC: '120000000', WATCHDOG_PID: `${PID}` }, PID)).toBe(120_000);
    expect(watchdogMs({ WATCHDOG_USEC: '120000000' }, PID)).toBe(120_000);
  });

  it.each([
    ['it was set for the process that started this one', { WATCHDOG_USEC: '1000000', WATCHDOG_PID: '4710' }],
    ['nothing is set', {}],
    ['it is zero', { WATCHDOG_USEC: '0' }],
    ['it is no number', { WATCHDOG_USEC: '1e9' }],
  ])('is off when %s', (_, env) => {
    expect(watchdogMs(env, PID)).toBe(null);
  });
});

describe('what systemd is told', () => {
  const spoken = (): { tools: Tools; words: string[] } => {
    const words: string[] = [];
    const run = async (name: string, args: readonly string[]) => {
      words.push([name, ...args].join(' '));
      return { kind: 'done' } as const;
    };
    return { tools: { has: async () => true, run }, words };
  };
  /** A clock that is turned by hand. */
  const byHand = () => {
    const state = { intervalMs: 0, turn: () => {}, ended: false };
    const every = (ms: number, work: () => void) => {
      Object.assign(state, { intervalMs: ms, turn: work });
      return () => {
        state.ended = true;
      };
    };
    return { state, every };
  };

  it('is nothing where nobody listens', async () => {
    expect(notifierIn({}, () => {})).toBe(null);
    const { state, every } = byHand();
    (await reportReady(null, 1_000, every))();
    expect(state.intervalMs).toBe(0);
  });

  it('is ready, once, where there is no watchdog', async () => {
    const [{ tools, words }, { state, every }] = [spoken(), byHand()];
    await reportReady(tools, null, every);
    expect(words).toEqual(['systemd-notify --ready']);
    expect(state.intervalMs).toBe(0);
  });

  it('is ready, and then a sign of life at half of the interval until it stops', async () => {
    const [{ tools, words }, { state, every }] = [spoken(), byHand()];
    const end = await reportReady(tools, 120_000, every);
    expect(state.intervalMs).toBe(60_000);
    expect(words).toEqual(['systemd-notify --ready']);
    state.turn();
    state.turn();
    expect(words.slice(1)).toEqual(['systemd-notify WATCHDOG=1', 'systemd-notify WATCHDOG=1']);
    end();
    expect(state.ended).toBe(true);
  });

  it('never costs more than two processes a second', async () => {
    const [{ tools }, { state, every }] = [spoken(), byHand()];
    await reportReady(tools, 2, every);
    expect(state.intervalMs).toBe(500);
  });
});

// What systemd does, done by a small program: it binds a datagram socket for the words of the daemon and a stream socket
// for the calls, passes the latter and prints each word that comes, with the interval of the watchdog in microseconds.
const SYSTEMD = `
import os, socket, sys
place, watchdog, *command = sys.argv[1:]
words = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
words.bind(place + '/notify')
calls = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
calls.bind(place + '/run/qrexec.sock')
calls.listen(8)
daemon = os.fork()
if daemon == 0:
    os.dup2(calls.fileno(), 3)
    os.set_inheritable(3, True)
    own = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'qrexec',
           'NOTIFY_SOCKET': place + '/notify', 'WATCHDOG_USEC': watchdog, 'WATCHDOG_PID': str(os.getpid())}
    os.execve(command[0], command, {**os.environ, **own})
print('pid', daemon, flush=True)
while True:
    data, descriptors, *_ = socket.recv_fds(words, 4096, 4)
    for descriptor in descriptors:
        os.close(descriptor)
    for line in data.decode().split('\\n'):
        if line and not line.startswith('BARRIER'):
            print(line, flush=True)
`;

describe('the built daemon under systemd', () => {
  let place: string;
  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), 'qmcp-systemd-'));
    for (const name of ['etc', 'run', 'state', 'log', 'bin']) execFileSync('mkdir', [join(place, name)]);
    writeFileSync(join(place, 'systemd.py'), SYSTEMD);
  });
  afterEach(() => rmSync(place, { recursive: true, force: true }));

  test('answers on the socket that it was passed, says that it is ready and alive, and leaves the socket where it is', async () => {
    const qubesd = await startQubesd({ path: join(place, 'qubesd.sock') });
    onTestFinished(() => qubesd.stop());
    const flags = ['etc', 'run', 'state', 'log'].flatMap((name) => [`--${name}`, join(place, name)]);
    const daemon = [process.execPath, 'dist/qmcp-brokerd.mjs', ...flags, '--qubesd', join(place, 'qubesd.sock')];
    const systemd = spawn('python3', [join(place, 'systemd.py'), place, '1000000', ...daemon], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines: string[] = [];
    let heard = (): void => {};
    createInterface({ input: systemd.stdout }).on('line', (line) => {
      lines.push(line);
      heard();
    });
    const until = async (word: string, times = 1): Promise<void> => {
      while (lines.filter((line) => line === word).length < times)
        await new Promise<void>((resolve) => {
          heard = resolve;
        });
    };
    onTestFinished(async () => {
      systemd.kill('SIGKILL');
      if (systemd.exitCode === null && systemd.signalCode === null) await once(systemd, 'exit');
    });
    await until('READY=1');
    const path = join(place, 'run/qrexec.sock');
    const inode = statSync(path).ino;
    expect(await call(path, 'qmcp.ListAIManagedQubes', '')).toMatchObject({ ok: true });
    await until('WATCHDOG=1', 2);

    const pid = Number(lines.find((line) => line.startsWith('pid '))?.slice(4));
    process.kill(pid, 'SIGTERM');
    while (existsSync(`/proc/${pid}/fd/3`)) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(statSync(path).ino).toBe(inode);
  });

  test('is told nothing by a socket of that name that somebody else holds', async () => {
    const server = createServer().listen(join(place, 'run/qrexec.sock'));
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const flags = ['etc', 'run', 'state', 'log'].flatMap((name) => [`--${name}`, join(place, name)]);
    const child = spawn(process.execPath, ['dist/qmcp-brokerd.mjs', ...flags, '--qubesd', join(place, 'none')], {
      env: { ...process.env, LISTEN_PID: '1', LISTEN_FDS: '1', LISTEN_FDNAMES: 'qrexec' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
    });
    const [status] = await once(child, 'exit');
    expect(status).toBe(1);
    expect(said).toContain('Another qmcp-brokerd already answers');
  });
});

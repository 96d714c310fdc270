// A daemon that is down, hangs, is of another version, or is not one: every verb says so, soon and in one sentence.
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runCommand } from '../../daemon/operator/command.ts';
import { QMCPCTL } from '../../daemon/operator/verbs.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { startDaemon } from '../broker/daemon.ts';
import { FLEET } from '../demo/fleet.ts';
import { startQubesd } from '../qubesd/server.ts';
import { allVerbs, qmcpctlOf } from './stage.ts';

/** Cannot do without the daemon. */
const asks = (...args: string[]) => ({ kind: 'asks', args }) as const;
/** Does its work without, and tells the daemon of it. */
const tells = (...args: string[]) => ({ kind: 'tells', args }) as const;
/** Says how the daemon is among other things. */
const reports = (...args: string[]) => ({ kind: 'reports', args }) as const;
/** Has no business with the daemon. */
const alone = (...args: string[]) => ({ kind: 'alone', args }) as const;

const KEY = 'A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=';
const OTHER_KEY = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=';
const BACKUP = '20260131T120000000Z';

/** Every verb, with arguments that bring it to its work. */
const VERBS: Readonly<
  Record<string, readonly ReturnType<typeof asks | typeof tells | typeof reports | typeof alone>[]>
> = {
  init: [reports(), reports('--apply'), reports('--json')],
  status: [asks(), asks('--json')],
  doctor: [reports('--root', '/nonexistent'), reports('--root', '/nonexistent', '--json')],
  'tier show': [alone()],
  'tier set': [asks('vault', 'exec'), asks('vault', 'ai-notes', 'exec', '--json')],
  mode: [alone(), alone('least-privilege', '--dry-run'), tells('least-privilege', '--yes')],
  'config list': [alone()],
  'config get': [alone('guarded')],
  'config set': [tells('guarded', 'vault'), tells('guarded', 'vault', '--json')],
  'config unset': [tells('pool-cap')],
  'config restore': [alone(), tells(BACKUP)],
  explain: [asks('qmcp.GetPoolStats')],
  simulate: [alone('--mode', 'least-privilege')],
  pending: [asks()],
  freeze: [asks('mcp-control')],
  thaw: [asks('mcp-control')],
  'principals list': [alone()],
  'principals add': [
    tells('new', '--key', OTHER_KEY, '--source', 'mcp-control', '--ceiling', 'ro', '--yes'),
    tells('rest', '--unsigned', '--source', 'any', '--ceiling', 'ro'),
  ],
  'principals remove': [tells('web', '--yes')],
  'principals rotate': [tells('web', '--key', OTHER_KEY)],
  'tombstones list': [asks()],
  'tombstones restore': [asks('vault'), asks('vault', '--tier', 'exec')],
  'tombstones reap': [asks(), asks('vault', '--yes')],
  undo: [asks('list'), asks('1'), asks('1', '--dry-run')],
  'audit tail': [alone()],
  'audit show': [alone()],
  'audit verify': [alone()],
  'audit export': [alone()],
  'audit report': [alone('--out', '-')],
  migrate: [alone('--root', '/nonexistent', '--dry-run')],
  version: [reports(), reports('--json')],
};
const typedAs = (kind: 'asks' | 'tells' | 'reports' | 'alone') =>
  Object.entries(VERBS).flatMap(([name, all]) =>
    all.filter((each) => each.kind === kind).map(({ args }) => [[...name.split(' '), ...args].join(' ')] as const),
  );

test('every verb is looked at here', () => {
  // The dialog of a terminal has its own.
  const names = allVerbs().map(({ path }) => path.join(' '));
  expect(Object.keys(VERBS).sort()).toEqual(names.filter((name) => name !== 'approve').sort());
});

/** Of two seconds; the rest is for Node to start. */
const SOON_MS = 1_800;

/** All that the verbs need but the daemon. */
const machine = async (): Promise<string[]> => {
  const dir = directory();
  const at = (name: string): string => join(dir, name);
  for (const name of ['etc/principals', `etc/backups/${BACKUP}`, 'log', 'state'])
    mkdirSync(at(name), { recursive: true });
  writeFileSync(at('etc/pool-cap'), '1\n');
  writeFileSync(at('etc/principals/web.json'), `{"key":"${KEY}","sources":["vault"],"ceiling":"ro"}\n`);
  const files = [{ path: at('etc/pool-cap'), copy: '0', mode: 0o644, uid: 0, gid: 0 }];
  const manifest = { v: 1, made: '2026-01-31T12:00:00.000Z', by: 'x', files };
  writeFileSync(at(`etc/backups/${BACKUP}/manifest.json`), JSON.stringify(manifest));
  writeFileSync(at(`etc/backups/${BACKUP}/0`), '2\n');
  writeFileSync(at('log/audit.jsonl'), '');
  cpSync('policy', at('policy.d'), { recursive: true });
  const qubesd = await startQubesd({ path: at('qubesd.sock'), fleet: FLEET });
  onTestFinished(() => qubesd.stop());
  return [
    ...['--etc', at('etc'), '--log', at('log'), '--state', at('state'), '--policy', at('policy.d')],
    ...['--qubesd', at('qubesd.sock'), '--tool-path', '/nonexistent'],
  ];
};

const at = async (run: string, args: readonly string[]) => {
  const places = await machine();
  const began = performance.now();
  let [out, err] = ['', ''];
  const code = await runCommand(QMCPCTL, [...args, ...places, '--run', run], {
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

/** The ways in which a daemon is not one to be asked, and what is said of each. */
const WAYS: Readonly<Record<string, readonly [run: () => Promise<string>, sentence: RegExp]>> = {
  'is down': [
    async () => directory(),
    /^The daemon is not running: nobody answers on .*\. To start it: sudo systemctl start qmcp-brokerd$/,
  ],
  hangs: [() => impostor(() => {}), /^The daemon does not answer on .*systemctl restart qmcp-brokerd$/],
  'speaks another protocol': [
    () => impostor((socket) => socket.end('{"v":2,"version":"9.9","ok":true,"result":{}}\n')),
    /^The daemon is of version 9\.9, qmcpctl of .*systemctl restart qmcp-brokerd$/,
  ],
};
const lines = (text: string): string[] => text.split('\n').filter(Boolean);

describe.each(Object.entries(WAYS))('a daemon that %s', (way, [start, sentence]) => {
  test.each(typedAs('asks'))('is said to, in a sentence and soon, by %s', async (typed) => {
    const { code, out, err, took } = await at(await start(), typed.split(' '));
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(lines(err)).toEqual([expect.stringMatching(sentence)]);
    expect(took).toBeLessThan(SOON_MS);
  });

  test.each(typedAs('tells'))('is said to, soon, by %s, which does its work all the same', async (typed) => {
    const { code, out, err, took } = await at(await start(), typed.split(' '));
    expect(code, err).toBe(0);
    expect(out).not.toBe('');
    if (way === 'is down')
      expect(lines(err)).toEqual(['The daemon is not running; it reads the settings when it starts.']);
    else {
      expect(lines(err)).toEqual([
        expect.stringMatching(sentence),
        'The settings are written; the daemon reads them at its next call.',
      ]);
    }
    expect(took).toBeLessThan(SOON_MS);
  });

  test.each(typedAs('reports'))('is told of among the rest, soon, by %s', async (typed) => {
    const { out, took } = await at(await start(), typed.split(' '));
    expect(out.replaceAll(/\n {2,}/g, ' ')).toMatch(
      /The daemon (?:does not run|is not running|runs, but does not|does not answer|is of version 9\.9)/i,
    );
    expect(out).toMatch(/systemctl (?:re)?start qmcp-brokerd/);
    expect(took).toBeLessThan(SOON_MS);
  });

  test.each(typedAs('alone'))('is no matter to %s', async (typed) => {
    const { code, out, err, took } = await at(await start(), typed.split(' '));
    expect({ code, err }, out).toEqual({ code: 0, err: '' });
    expect(took).toBeLessThan(SOON_MS);
  });
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

test('while a daemon that lives takes its time, a person who watches is told so, and nobody else', async () => {
  const dir = await impostor((socket, line) => {
    const answer = (result: object) =>
      socket.end(`${JSON.stringify({ v: 1, version: packageJson.version, ok: true, result })}\n`);
    if (line.includes('"hello"')) answer({ pid: 1, uptime_s: 1 });
    else setTimeout(() => answer({ open: null, waiting: [] }), 1_200);
  });
  expect((await at(dir, ['pending'])).err).toBe('');
  const told: string[] = [];
  const io = { out: async () => {}, err: (text: string) => void told.push(text) };
  const person = { ...io, watched: true, colour: false, ask: async () => null, input: async () => '', now: Date.now };
  expect(await runCommand(QMCPCTL, ['pending', '--run', dir], person)).toBe(0);
  expect(told).toEqual(['The daemon is at it, and may have to wait for qubesd.', '\r\x1b[K']);
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

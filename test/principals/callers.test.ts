// What the README says of a signed call, and the two libraries that make one, against the daemon's own reading.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { QmcpCaller } from '../../daemon/principals/callers/qmcp-caller.ts';
import { envelopeIn, isSignedBy } from '../../daemon/principals/envelope.ts';
import { keyObject } from '../../daemon/principals/file.ts';
import { startDaemon } from '../broker/daemon.ts';
import { enrollIn } from './enrolling.ts';
import { enrolled, KEY, publicKey, type Signed, seal } from './signing.ts';

const at = (path: string): string => fileURLToPath(new URL(`../../daemon/principals/${path}`, import.meta.url));
const README = readFileSync(at('README.md'), 'utf8');
const VECTORS = (/```jsonl\n([\s\S]*?)```/.exec(README)?.[1] ?? '')
  .split('\n')
  .filter(Boolean)
  .map((line) => JSON.parse(line) as Signed & { signature: string });
const key = keyObject(publicKey(KEY));

const keyFile = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-key-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'key.pem'), KEY.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  return join(dir, 'key.pem');
};

/** The envelope that the Python library makes, as the bytes it would send. */
const byPython = (file: string, call: Omit<Signed, 'call'> & { request: unknown }): string => {
  const { source, service, argument, principal, time, number, request } = call;
  const program = `import json, sys
sys.path.insert(0, sys.argv[1])
from qmcp_caller import Caller
a = json.loads(sys.argv[2])
caller = Caller(a["principal"], sys.argv[3], a["source"])
body = caller.envelope(a["service"], a["request"], a["argument"], a["time"], a["number"])
sys.stdout.buffer.write(body)`;
  const told = JSON.stringify({ source, service, argument, principal, time, number, request: request ?? null });
  return execFileSync('python3', ['-B', '-c', program, at('callers'), told, file], { encoding: 'utf8' });
};

const byTypeScript = (file: string, call: Omit<Signed, 'call'> & { request: unknown }): string =>
  new QmcpCaller(call.principal, file, call.source).envelope(call.service, call.request, call.argument, {
    time: call.time,
    number: call.number,
  });

describe("the README's vectors", () => {
  test('are there', () => {
    expect(VECTORS.length).toBeGreaterThanOrEqual(4);
    expect(README).toContain(publicKey(KEY));
  });

  test.each(VECTORS)('$service with the number $number', (vector) => {
    const { signature, ...signed } = vector;
    expect(seal(signed)).toMatchObject({ signature });
    const envelope = envelopeIn(seal(signed));
    expect(envelope && key && isSignedBy(key, signed, envelope)).toBe(true);
  });

  test.each([
    ['Python', byPython],
    ['TypeScript', byTypeScript],
  ])('come out of the library for %s where the request is the same text', (_, library) => {
    const [vector] = VECTORS;
    if (!vector) throw new Error('no vector');
    expect(vector.call).toBe('');
    const { signature } = JSON.parse(library(keyFile(), { ...vector, request: undefined })) as { signature: string };
    expect(signature).toBe(vector.signature);
  });
});

describe.each([
  ['Python', byPython],
  ['TypeScript', byTypeScript],
])('the library for %s', (_, library) => {
  test('signs what the daemon takes, once', async () => {
    const { daemon, qubesd } = await startDaemon();
    enrollIn(daemon.etc, { 'web.json': enrolled() });
    const call = {
      source: 'mcp-control',
      service: 'qmcp.SetFeatureAIManaged',
      argument: '',
      principal: 'web',
      time: Date.now(),
      number: '5'.repeat(32),
      request: { name: 'ai-work', feature: 'ai-note', value: 'caf\u00e9 \u{1f600} "quoted" \\ \n'.slice(0, 3) },
    };
    const body = library(keyFile(), call);
    expect(await daemon.call(call.service, body)).toMatchObject({ ok: true, feature: 'ai-note' });
    expect(await daemon.call(call.service, body)).toEqual({ ok: false, error: 'not found' });
    expect(qubesd.changes()).toHaveLength(1);
  });

  test('signs text of any language, and the argument', () => {
    const request = { value: 'caf\u00e9 \u{1f600} \u0000 "\\' };
    const call = {
      source: 'a.b',
      service: 'qmcp.Commit',
      argument: 'a_b.c+d',
      principal: 'web',
      time: 7,
      number: 'f'.repeat(32),
    };
    const envelope = envelopeIn(JSON.parse(library(keyFile(), { ...call, request })));
    expect(envelope && JSON.parse(envelope.call)).toEqual(request);
    expect(envelope && key && isSignedBy(key, call, envelope)).toBe(true);
    expect(envelope && key && isSignedBy(key, { ...call, argument: '' }, envelope)).toBe(false);
  });
});

/** What the libraries find in a qube: its name, and qrexec, which here leads straight to the door of a daemon. */
const inAQube = (door: string): NodeJS.ProcessEnv => {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-bin-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const client = `#!/usr/bin/env python3
import os, socket, sys
_, dashes, target, service = sys.argv
assert (dashes, target) == ("--", "@adminvm")
body = sys.stdin.buffer.read()
said = os.environ.get("QMCP_TEST_REPLY")
if said is not None:
    sys.exit(print(said, end=""))
door = socket.socket(socket.AF_UNIX)
door.connect(os.environ["QMCP_TEST_DOOR"])
door.sendall(f"{service} mcp-control keyword adminvm\\0".encode() + body)
door.shutdown(socket.SHUT_WR)
while chunk := door.recv(65536):
    sys.stdout.buffer.write(chunk)
`;
  writeFileSync(join(dir, 'qrexec-client-vm'), client, { mode: 0o755 });
  writeFileSync(join(dir, 'qubesdb-read'), '#!/bin/sh\n[ "$1" = /name ] && echo mcp-control\n', { mode: 0o755 });
  return { ...process.env, PATH: `${dir}:${process.env.PATH}`, QMCP_TEST_DOOR: door };
};

type Made = (env: NodeJS.ProcessEnv, file: string, service: string, request?: unknown) => Promise<unknown>;

const calledByPython: Made = async (env, file, service, request) => {
  const args = ['web', file, service, ...(request === undefined ? [] : [JSON.stringify(request)])];
  const run = promisify(execFile)('python3', ['-B', at('callers/qmcp_caller.py'), ...args], { env });
  // Its exit status says the same as the reply.
  const { code, stdout } = await run.then(
    (done) => ({ ...done, code: 0 }),
    (failed) => failed as { code: number; stdout: string },
  );
  const reply = JSON.parse(stdout) as { ok: boolean };
  expect(code).toBe(reply.ok ? 0 : 1);
  return reply;
};

const calledByTypeScript: Made = async (env, file, service, request) => {
  const program = `import { QmcpCaller } from ${JSON.stringify(at('callers/qmcp-caller.ts'))};
const [name, argument] = process.argv[2].split('+');
const request = process.argv[3] === undefined ? undefined : JSON.parse(process.argv[3]);
console.log(JSON.stringify(await new QmcpCaller('web', process.argv[1]).call(name, request, argument)));`;
  const args = [file, service, ...(request === undefined ? [] : [JSON.stringify(request)])];
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--no-warnings', '--input-type=module-typescript', '-e', program, '--', ...args],
    { env },
  );
  return JSON.parse(stdout);
};

describe.each([
  ['Python', calledByPython],
  ['TypeScript', calledByTypeScript],
])('a call made with the library for %s, from a qube', (_, made) => {
  test('reaches the daemon, which answers it', async () => {
    const { daemon, qubesd } = await startDaemon();
    enrollIn(daemon.etc, { 'web.json': enrolled() });
    const env = inAQube(daemon.path);
    const file = keyFile();
    expect(await made(env, file, 'qmcp.ListAIManagedQubes')).toMatchObject({ ok: true });
    const start = { name: 'ai-idle', action: 'start' };
    expect(await made(env, file, 'qmcp.LifecycleAIManaged', start)).toEqual({ ok: true });
    expect(await made(env, file, 'qmcp.LifecycleAIManaged', { ...start, name: 'no-such' })).toMatchObject({
      ok: false,
      error: 'not found',
    });
    expect(await made(env, file, `qmcp.Status+${'a'.repeat(64)}`, {})).toMatchObject({ ok: false, error: 'not found' });
    expect(qubesd.changes()).toEqual([['admin.vm.Start', 'ai-idle']]);
    await daemon.end();
    const decisions = daemon.journal().filter(({ type }) => type === 'decision');
    expect(decisions.map(({ rule }) => rule)).not.toContain('principal-signature');
  });

  test.each(['', 'null', '[]', 'Request refused\n'])('is refused where the answer is %j', async (said) => {
    const env = { ...inAQube('/nowhere'), QMCP_TEST_REPLY: said };
    const reply = await made(env, keyFile(), 'qmcp.ListAIManagedQubes');
    expect(reply).toEqual({ ok: false, error: 'not found or refused' });
  });
});

test('the library for Python is about sixty lines, with nothing but what comes with Python', () => {
  const lines = readFileSync(at('callers/qmcp_caller.py'), 'utf8').split('\n');
  expect(lines.length).toBeLessThan(80);
  const imported = lines.flatMap((line) => /^(?:import|from) (\w+)/.exec(line)?.[1] ?? []);
  expect(imported.sort()).toEqual(['base64', 'json', 'os', 'secrets', 'subprocess', 'sys', 'time']);
});

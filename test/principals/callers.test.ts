// What the README says of a signed call, and the two libraries that make one, against the daemon's own reading.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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

test('the library for Python is about sixty lines, with nothing but what comes with Python', () => {
  const lines = readFileSync(at('callers/qmcp_caller.py'), 'utf8').split('\n');
  expect(lines.length).toBeLessThan(80);
  const imported = lines.flatMap((line) => /^(?:import|from) (\w+)/.exec(line)?.[1] ?? []);
  expect(imported.sort()).toEqual(['base64', 'json', 'os', 'secrets', 'subprocess', 'sys', 'time']);
});

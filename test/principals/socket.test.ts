// Signed calls at the socket of the built daemon: whatever is wrong with one, it is refused as a call on no qube is.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { exchange, frame } from '../broker/caller.ts';
import { type Daemon, startDaemon } from '../broker/daemon.ts';
import type { Qubesd } from '../qubesd/server.ts';
import { enrollIn } from './enrolling.ts';
import { enrolled, freshNumber, OTHER_KEY, publicKey, type Signed, seal, unsignedFile } from './signing.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const START = '{"name":"ai-idle","action":"start"}';

interface Sent {
  readonly service: string;
  readonly source?: string;
  readonly argument?: string;
  readonly body: unknown;
}

const send = (daemon: Daemon, { service, source, argument, body }: Sent): Promise<string> =>
  exchange(daemon.path, frame(service, body, { ...(source && { source }), ...(argument && { argument }) }));

const signed = (changes: Partial<Signed> = {}): Signed => ({
  source: 'mcp-control',
  service: LIFECYCLE,
  argument: '',
  principal: 'web',
  time: Date.now(),
  number: freshNumber(),
  call: START,
  ...changes,
});

const place = async (files: Record<string, string> = {}): Promise<{ daemon: Daemon; qubesd: Qubesd }> => {
  const started = await startDaemon();
  enrollIn(started.daemon.etc, {
    'web.json': enrolled(),
    'mail.json': enrolled({ key: publicKey(OTHER_KEY) }),
    'far.json': enrolled({ sources: ['mcp-other'] }),
    ...files,
  });
  return started;
};

test('a signed call is made, and the journal names the principal', async () => {
  const { daemon, qubesd } = await place();
  expect(await daemon.call(LIFECYCLE, seal(signed()))).toEqual({ ok: true });
  expect(qubesd.changes()).toEqual([['admin.vm.Start', 'ai-idle']]);
  const listing = seal(signed({ service: 'qmcp.ListAIManagedQubes', call: '' }));
  expect(await daemon.call('qmcp.ListAIManagedQubes', listing)).toMatchObject({ ok: true });
  await daemon.end();
  const lines = daemon.journal().filter(({ service }) => service === LIFECYCLE);
  expect(lines.map(({ type, principal, source }) => [type, principal, source])).toEqual([
    ['decision', 'web', 'mcp-control'],
    ['intent', 'web', 'mcp-control'],
    ['outcome', 'web', 'mcp-control'],
  ]);
});

describe('a call is refused like one on no qube, byte for byte, and nothing is done, when', () => {
  const sealedAs = (changes: Partial<Signed>, sent: Partial<Sent> = {}): Sent => ({
    service: LIFECYCLE,
    body: seal(signed(changes)),
    ...sent,
  });
  const altered = (changes: Record<string, unknown>): Sent => ({
    service: LIFECYCLE,
    body: { ...seal(signed()), ...changes },
  });
  const wrong: [string, string, () => Sent][] = [
    ['its time is too early', 'principal-replay', () => sealedAs({ time: Date.now() - 121_000 })],
    ['its time is too late', 'principal-replay', () => sealedAs({ time: Date.now() + 125_000 })],
    ['the principal is unknown', 'principal-unknown', () => sealedAs({ principal: 'nobody' })],
    ['the principal is one of another source', 'principal-unknown', () => sealedAs({ principal: 'far' })],
    [
      "it comes from a source that is not the principal's",
      'principal-unknown',
      () => sealedAs({ source: 'mcp-other' }, { source: 'mcp-other' }),
    ],
    ['it was signed for another source', 'principal-signature', () => sealedAs({ source: 'mcp-other' })],
    [
      'it was signed for another service',
      'principal-signature',
      () => sealedAs({ service: 'qmcp.SetPropertyAIManaged' }),
    ],
    ['it was signed for another argument', 'principal-signature', () => sealedAs({}, { argument: 'a' })],
    [
      'it was signed by another principal',
      'principal-signature',
      () => ({ service: LIFECYCLE, body: seal(signed(), OTHER_KEY) }),
    ],
    ['its request was altered', 'principal-signature', () => altered({ call: START.replace('idle', 'work') })],
    ['its number was altered', 'principal-signature', () => altered({ number: freshNumber() })],
    [
      'its signature was altered',
      'principal-signature',
      () => altered({ signature: Buffer.alloc(64).toString('base64') }),
    ],
    ['its signature is missing', 'principal-envelope', () => altered({ signature: undefined })],
    ['it has a field too many', 'principal-envelope', () => altered({ also: 1 })],
    ['it is not signed', 'principal-unsigned', () => ({ service: LIFECYCLE, body: START })],
    ['it is not signed, nor JSON', 'principal-unsigned', () => ({ service: LIFECYCLE, body: '{' })],
    ['the qube does not exist', 'missing', () => sealedAs({ call: '{"name":"no-such","action":"start"}' })],
    ['the qube is not managed', 'outside-umbrella', () => sealedAs({ call: '{"name":"vault","action":"start"}' })],
  ];

  test('any of these', async () => {
    const { daemon, qubesd } = await place();
    const replies: [string, string][] = [];
    for (const [why, , make] of wrong) replies.push([why, await send(daemon, make())]);
    expect(replies).toEqual(wrong.map(([why]) => [why, '{"ok":false,"error":"not found"}\n']));
    await daemon.end();
    const decisions = daemon.journal().filter(({ type }) => type === 'decision');
    expect(decisions.map(({ rule }) => rule)).toEqual(wrong.map(([, rule]) => rule));
    expect(qubesd.changes()).toEqual([]);
    const principals = daemon.journal().filter(({ rule }) => String(rule).startsWith('principal-'));
    expect(new Set(principals.map(({ principal }) => principal))).toEqual(new Set(['unknown']));
    expect(JSON.stringify(daemon.journal())).not.toContain('nobody');
  });

  test('it was made before, also as part of another', async () => {
    const { daemon, qubesd } = await place();
    const body = seal(signed({ call: '{"name":"ai-work","action":"pause"}' }));
    const again: Sent = { service: LIFECYCLE, body };
    expect(await send(daemon, again)).toBe('{"ok":true}\n');
    expect(await send(daemon, again)).toBe('{"ok":false,"error":"not found"}\n');
    const number = String(body.number);
    expect(await send(daemon, { service: LIFECYCLE, body: seal(signed({ number })) })).toBe(
      '{"ok":false,"error":"not found"}\n',
    );
    expect(qubesd.changes()).toHaveLength(1);
  });

  test('it is made twice at once', async () => {
    const { daemon, qubesd } = await place();
    const body = seal(signed({ call: '{"name":"ai-work","action":"pause"}' }));
    const replies = await Promise.all(Array.from({ length: 8 }, () => send(daemon, { service: LIFECYCLE, body })));
    expect(replies.filter((reply) => reply === '{"ok":true}\n')).toHaveLength(1);
    expect(qubesd.changes()).toHaveLength(1);
  });

  test.each([
    [
      'qmcp.SpawnAIManagedQube',
      '{"name":"ai-new","template":"ai-debian-13"}',
      'template must reference an ai-managed qube',
    ],
    ['qmcp.CloneAIManagedQube', '{"source":"ai-idle","name":"ai-new"}', 'not found'],
    ['qmcp.GetPropertyAIManaged', '{"name":"ai-idle","property":"label"}', 'not found'],
    ['qmcp.ListAIManagedQubes', '', 'not found'],
    ['qmcp.GetPoolStats', '', 'not found'],
    ['qmcp.Prepare', `{"calls":[{"service":"${LIFECYCLE}","request":${START}}]}`, 'not found'],
    ['qmcp.Status', '', 'not found'],
    ['qmcp.NoSuchService', '{}', 'not found'],
  ])('the service is %s, each with its own words', async (service, call, error) => {
    const { daemon, qubesd } = await place();
    for (const body of [seal(signed({ service, call }), OTHER_KEY), call === '' ? {} : call]) {
      expect(await send(daemon, { service, body })).toBe(`${JSON.stringify({ ok: false, error })}\n`);
    }
    expect(qubesd.changes()).toEqual([]);
  });
});

describe('over a restart', () => {
  test.each<[string, NodeJS.Signals]>([
    ['an end in order', 'SIGTERM'],
    ['a sudden one', 'SIGKILL'],
  ])('by %s a call that was made stays made', async (_, signal) => {
    const { daemon, qubesd } = await place();
    const pause = seal(signed({ call: '{"name":"ai-work","action":"pause"}' }));
    const list = seal(signed({ service: 'qmcp.ListAIManagedQubes', call: '' }));
    expect(await daemon.call(LIFECYCLE, pause)).toEqual({ ok: true });
    expect(await daemon.call('qmcp.ListAIManagedQubes', list)).toMatchObject({ ok: true });
    await daemon.end(signal);
    await daemon.start();
    expect(await daemon.call(LIFECYCLE, pause)).toEqual({ ok: false, error: 'not found' });
    expect(await daemon.call('qmcp.ListAIManagedQubes', list)).toEqual({ ok: false, error: 'not found' });
    expect(qubesd.changes()).toHaveLength(1);
  });

  test('in order the next call is good at once', async () => {
    const { daemon } = await place();
    expect(await daemon.call(LIFECYCLE, seal(signed()))).toEqual({ ok: true });
    await daemon.end();
    await daemon.start();
    expect(await daemon.call(LIFECYCLE, seal(signed({ call: '{"name":"ai-idle","action":"pause"}' })))).toEqual({
      ok: true,
    });
  });

  test.each<NodeJS.Signals>(['SIGTERM', 'SIGKILL'])('(%s) a quota that was used up stays used up', async (signal) => {
    const { daemon } = await place({ 'all.json': unsignedFile({ per_hour: { calls: 2 } }) });
    expect(await daemon.call(LIFECYCLE, START)).toEqual({ ok: true });
    expect(await daemon.call(LIFECYCLE, START.replace('start', 'pause'))).toEqual({ ok: true });
    await daemon.end(signal);
    await daemon.start();
    expect(await daemon.call(LIFECYCLE, START)).toEqual({ ok: false, error: 'not found' });
    await daemon.end();
    const decision = daemon.journal().findLast(({ type }) => type === 'decision');
    expect(decision).toMatchObject({ rule: 'principal-calls', principal: 'all' });
  });
});

test('a principal that is taken away is gone with the next call, and one that is added is there', async () => {
  const { daemon } = await place();
  expect(await daemon.call(LIFECYCLE, seal(signed()))).toEqual({ ok: true });
  enrollIn(daemon.etc, { 'new.json': enrolled() });
  expect(
    await daemon.call(
      'qmcp.ListAIManagedQubes',
      seal(signed({ service: 'qmcp.ListAIManagedQubes', principal: 'new', call: '' })),
    ),
  ).toMatchObject({ ok: true });
  rmSync(join(daemon.etc, 'principals', 'web.json'));
  expect(await daemon.call(LIFECYCLE, seal(signed()))).toEqual({ ok: false, error: 'not found' });
});

test('a file that is wrong is told to the log and the journal, at the start and when it changes', async () => {
  const { daemon } = await place({ 'bad.json': '{}' });
  await daemon.call('qmcp.ListAIManagedQubes', '');
  const sentence = `${daemon.etc}/principals/bad.json: sources: `;
  expect(daemon.lines.map(({ msg }) => msg)).toContainEqual(expect.stringContaining(sentence));
  await daemon.end();
  expect(daemon.journal().find(({ type }) => type === 'settings')).toMatchObject({
    complaints: [expect.stringContaining(sentence)],
  });
  daemon.lines.length = 0;
  await daemon.start();
  expect(daemon.lines.map(({ msg }) => msg)).toContainEqual(expect.stringContaining(sentence));
});

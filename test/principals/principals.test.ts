// The station "who is asking" by itself: what is admitted, what is denied by which rule, and what it waits for.
import type crypto from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { QubeName } from '../../daemon/names.ts';
import { MAX_DEPTH } from '../../daemon/nesting.ts';
import { Ledger } from '../../daemon/principals/ledger.ts';
import { type Admitted, type Denied, Principals } from '../../daemon/principals/principals.ts';
import { Registry } from '../../daemon/principals/registry.ts';
import type { StateFiles } from '../../daemon/state-files.ts';
import { enrolled, freshNumber, KEY, OTHER_KEY, publicKey, type Signed, seal, unsignedFile } from './signing.ts';

vi.mock('node:crypto', async (original) => {
  const real = await original<typeof crypto>();
  return { ...real, verify: vi.fn(real.verify), createPublicKey: vi.fn(real.createPublicKey) };
});
const { verify, createPublicKey } = await import('node:crypto');

const NOW = 1_700_000_000_000;
const SERVICE = 'qmcp.LifecycleAIManaged';

class Place {
  readonly etc = mkdtempSync(join(tmpdir(), 'qmcp-principals-'));
  readonly texts = new Map<string, string>();
  now = NOW;
  failing = false;
  writes = 0;
  readonly files: StateFiles = {
    pathOf: (name) => name,
    read: (name) => this.texts.get(name) ?? null,
    write: async (name, text) => {
      this.writes += 1;
      if (this.failing) throw new Error('full');
      this.texts.set(name, text);
    },
  };
  readonly principals: Principals;

  constructor(files: Record<string, string>, texts: Record<string, string> = {}) {
    mkdirSync(join(this.etc, 'principals'));
    for (const [name, text] of Object.entries(files)) this.put(name, text);
    for (const [name, text] of Object.entries(texts)) this.texts.set(name, text);
    onTestFinished(() => rmSync(this.etc, { recursive: true }));
    this.principals = new Principals({
      registry: new Registry(this.etc),
      ledger: new Ledger('/nowhere', { files: this.files, after: () => {} }),
      now: () => this.now,
    });
    vi.mocked(verify).mockClear();
  }

  put(name: string, text: string): void {
    writeFileSync(join(this.etc, 'principals', name), text);
  }

  admit(
    json: unknown,
    {
      kind = 'change',
      source = 'mcp-control',
      service = SERVICE,
      argument = '',
    }: Partial<Record<'kind' | 'source' | 'service' | 'argument', string>> = {},
  ): Admitted | Denied | Promise<Admitted | Denied> {
    const body = json === null ? null : { json };
    return this.principals.admit({ service, argument, source: source as QubeName, body }, kind as 'read' | 'change');
  }

  signed(changes: Partial<Signed> = {}, key = KEY): Record<string, unknown> {
    const signed = {
      source: 'mcp-control',
      service: SERVICE,
      argument: '',
      principal: 'web',
      time: this.now,
      number: freshNumber(),
      call: '{"name":"x"}',
    };
    return seal({ ...signed, ...changes }, key);
  }
}

const ruleOf = (answer: Admitted | Denied): string => (answer.kind === 'denied' ? answer.rule : 'admitted');

/** What the signed calls ask for. */
const ASKED = { json: { name: 'x' } };

describe('where nobody is enrolled', () => {
  test('every body is the request of the default principal, at once and as it is', () => {
    const place = new Place({});
    for (const json of [{ name: 'x' }, { qmcp: 1, name: 'x' }, 7, undefined]) {
      expect(place.admit(json)).toEqual({
        kind: 'admitted',
        caller: { source: 'mcp-control', principal: 'default' },
        body: { json },
      });
    }
    expect(place.admit(null)).toMatchObject({ body: null });
    expect(place.writes).toBe(0);
  });
});

describe('an unsigned call', () => {
  test('is that of the principal who makes them, with its limits', () => {
    const place = new Place({ 'some.json': unsignedFile({ ceiling: 'exec' }) });
    expect(place.admit({ name: 'x' })).toMatchObject({
      kind: 'admitted',
      caller: { source: 'mcp-control', principal: 'some', limits: { ceiling: 'exec' } },
      body: { json: { name: 'x' } },
    });
    expect(place.admit(null)).toMatchObject({ kind: 'admitted', body: null });
  });

  test('is denied where nobody makes them', async () => {
    const place = new Place({ 'web.json': enrolled() });
    expect(place.admit({ name: 'x' })).toEqual({
      ...{ kind: 'denied', rule: 'principal-unsigned', principal: 'unknown' },
      body: { json: { name: 'x' } },
    });
  });

  test('of a kind that its principal may not make is denied', () => {
    const place = new Place({ 'some.json': unsignedFile({ risks: ['change'] }) });
    expect(place.admit({}, { kind: 'read' })).toEqual({
      ...{ kind: 'denied', rule: 'principal-risk', principal: 'some', body: { json: {} } },
    });
    expect(place.admit({}, { kind: 'change' })).toMatchObject({ kind: 'admitted' });
  });
});

describe('a signed call', () => {
  test('is opened: the request is what was signed, and the caller who signed it', async () => {
    const place = new Place({ 'web.json': enrolled({ ceiling: 'net' }) });
    expect(await place.admit(place.signed({ call: '{"name":"ai-work"}' }))).toMatchObject({
      kind: 'admitted',
      caller: { source: 'mcp-control', principal: 'web', signed: true, limits: { ceiling: 'net' } },
      body: { json: { name: 'ai-work' } },
    });
    expect(await place.admit(place.signed({ call: '' }))).toMatchObject({ body: { json: {} } });
    expect(await place.admit(place.signed({ call: ' ' }))).toMatchObject({ body: null });
    expect(await place.admit(place.signed({ call: '{"qmcp":1}' }))).toMatchObject({ body: { json: { qmcp: 1 } } });
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    const { body } = (await place.admit(place.signed({ call: nested(MAX_DEPTH) }))) as Admitted;
    expect(body).not.toBeNull();
    expect(await place.admit(place.signed({ call: nested(MAX_DEPTH + 1) }))).toMatchObject({ body: null });
  });

  test.each<[string, (place: Place) => unknown, string, number]>([
    ['has another shape', (place) => ({ ...place.signed(), more: 1 }), 'principal-envelope', 0],
    ['names nobody', (place) => place.signed({ principal: 'mail' }), 'principal-unknown', 0],
    ['names who makes unsigned calls', (place) => place.signed({ principal: 'some' }), 'principal-unknown', 0],
    ['names a principal of another source', (place) => place.signed({ principal: 'far' }), 'principal-unknown', 0],
    ['is too old', (place) => place.signed({ time: NOW - 120_001 }), 'principal-replay', 0],
    ['is too new', (place) => place.signed({ time: NOW + 120_001 }), 'principal-replay', 0],
    ['is signed by another key', (place) => place.signed({}, OTHER_KEY), 'principal-signature', 1],
    ['was signed for another source', (place) => place.signed({ source: 'mcp-other' }), 'principal-signature', 1],
    [
      'was signed for another service',
      (place) => place.signed({ service: 'qmcp.SetPropertyAIManaged' }),
      'principal-signature',
      1,
    ],
    ['was signed for another argument', (place) => place.signed({ argument: 'a' }), 'principal-signature', 1],
    [
      'was signed by another principal',
      (place) => ({ ...place.signed({ principal: 'twin' }), principal: 'web' }),
      'principal-signature',
      1,
    ],
    ['was signed at another time', (place) => ({ ...place.signed(), time: NOW + 1 }), 'principal-signature', 1],
    [
      'was signed with another number',
      (place) => ({ ...place.signed(), number: freshNumber() }),
      'principal-signature',
      1,
    ],
    ['had another request', (place) => ({ ...place.signed(), call: '{"name":"y"}' }), 'principal-signature', 1],
  ])('that %s is denied, and tells nobody who it was', async (_, make, rule, checks) => {
    const place = new Place({
      'web.json': enrolled(),
      'twin.json': enrolled(),
      'far.json': enrolled({ sources: ['mcp-other'] }),
      'some.json': unsignedFile(),
    });
    expect(await place.admit(make(place))).toEqual({ kind: 'denied', rule, principal: 'unknown', body: null });
    expect(verify).toHaveBeenCalledTimes(checks);
    expect(place.writes).toBe(0);
  });

  test('is good once; a forged one does not use up its number', async () => {
    const place = new Place({ 'web.json': enrolled() });
    const body = place.signed();
    const forged = { ...place.signed({}, OTHER_KEY), number: body.number };
    expect(ruleOf(await place.admit(forged))).toBe('principal-signature');
    expect(ruleOf(await place.admit(body))).toBe('admitted');
    expect(ruleOf(await place.admit(body))).toBe('principal-replay');
    expect(ruleOf(await place.admit(place.signed({ number: String(body.number), call: '{}' })))).toBe(
      'principal-replay',
    );
    expect(verify).toHaveBeenCalledTimes(2);
  });

  test('finds the key of its principal made, but for the first', async () => {
    const place = new Place({ 'web.json': enrolled() });
    await place.admit(place.signed());
    vi.mocked(createPublicKey).mockClear();
    expect(ruleOf(await place.admit(place.signed()))).toBe('admitted');
    expect(createPublicKey).not.toHaveBeenCalled();
  });

  test('of a kind that its principal may not make is denied, under its name', async () => {
    const place = new Place({ 'web.json': enrolled({ risks: ['change'] }) });
    const answer = await place.admit(place.signed(), { kind: 'read' });
    expect(answer).toEqual({ ...{ kind: 'denied', rule: 'principal-risk', principal: 'web' }, body: ASKED });
  });

  test('has the same number as that of another principal without harm', async () => {
    const place = new Place({ 'web.json': enrolled(), 'mail.json': enrolled({ key: publicKey(OTHER_KEY) }) });
    const number = freshNumber();
    expect(ruleOf(await place.admit(place.signed({ number })))).toBe('admitted');
    expect(ruleOf(await place.admit(place.signed({ number, principal: 'mail' }, OTHER_KEY)))).toBe('admitted');
  });

  test('waits for the disk once in a while, and a read not at all when that fails', async () => {
    const place = new Place({ 'web.json': enrolled() });
    const first = place.admit(place.signed(), { kind: 'read' });
    expect(first).toBeInstanceOf(Promise);
    expect(ruleOf(await first)).toBe('admitted');
    expect(place.admit(place.signed(), { kind: 'read' })).not.toBeInstanceOf(Promise);
    expect(place.writes).toBe(1);
    place.now += 5_000;
    expect(place.admit(place.signed(), { kind: 'read' })).not.toBeInstanceOf(Promise);
    place.now += 1;
    place.failing = true;
    expect(ruleOf(await place.admit(place.signed(), { kind: 'read' }))).toBe('admitted');
    expect(await place.admit(place.signed(), { kind: 'change' })).toEqual({
      kind: 'denied',
      rule: 'principal-ledger',
      principal: 'web',
      body: ASKED,
    });
    place.failing = false;
    expect(ruleOf(await place.admit(place.signed(), { kind: 'change' }))).toBe('admitted');
  });

  test('is denied while nothing is known of what its principal did before', async () => {
    const place = new Place({ 'web.json': enrolled(), 'mail.json': enrolled() }, { 'web.json': 'x' });
    for (const kind of ['read', 'change'])
      expect(ruleOf(await place.admit(place.signed(), { kind }))).toBe('principal-ledger');
    expect(ruleOf(await place.admit(place.signed({ principal: 'mail' })))).toBe('admitted');
  });
});

describe('the quota of calls', () => {
  test('is so many within an hour, of both kinds together, and refused calls do not count', async () => {
    const place = new Place({ 'web.json': enrolled({ per_hour: { calls: 3 } }) });
    for (const kind of ['read', 'change', 'read'])
      expect(ruleOf(await place.admit(place.signed(), { kind }))).toBe('admitted');
    for (const kind of ['read', 'change']) {
      expect(await place.admit(place.signed(), { kind })).toEqual({
        kind: 'denied',
        rule: 'principal-calls',
        principal: 'web',
        body: ASKED,
      });
    }
    place.now += 61 * 60_000;
    for (const kind of ['read', 'change', 'read'])
      expect(ruleOf(await place.admit(place.signed(), { kind }))).toBe('admitted');
    expect(ruleOf(await place.admit(place.signed()))).toBe('principal-calls');
  });

  test('of unsigned calls is that of each source by itself', async () => {
    const place = new Place({ 'some.json': unsignedFile({ per_hour: { calls: 1 } }) });
    expect(ruleOf(await place.admit({}, { source: 'a' }))).toBe('admitted');
    expect(ruleOf(await place.admit({}, { source: 'a' }))).toBe('principal-calls');
    expect(ruleOf(await place.admit({}, { source: 'b' }))).toBe('admitted');
    expect([...place.texts.keys()].sort()).toEqual(['some@a.json', 'some@b.json']);
  });

  test('of none lets nothing through', async () => {
    const place = new Place({ 'some.json': unsignedFile({ per_hour: { calls: 0 } }) });
    expect(ruleOf(await place.admit({}, { kind: 'read' }))).toBe('principal-calls');
  });

  test('is on disk before a change, and a change that it cannot be on disk for is denied', async () => {
    const place = new Place({ 'some.json': unsignedFile({ per_hour: { calls: 9 } }) });
    expect(place.admit({}, { kind: 'read' })).not.toBeInstanceOf(Promise);
    expect(place.writes).toBe(0);
    expect(ruleOf(await place.admit({}))).toBe('admitted');
    expect(JSON.parse(place.texts.get('some@mcp-control.json') ?? '').calls).toEqual([[Math.floor(NOW / 60_000), 2]]);
    place.failing = true;
    expect(ruleOf(await place.admit({}))).toBe('principal-ledger');
    expect(ruleOf(await place.admit({}, { kind: 'read' }))).toBe('admitted');
  });

  test('that cannot be read denies changes, and lets reads through', async () => {
    const place = new Place(
      { 'some.json': unsignedFile({ per_hour: { calls: 9 } }) },
      { 'some@mcp-control.json': 'x' },
    );
    expect(ruleOf(await place.admit({}))).toBe('principal-ledger');
    expect(ruleOf(await place.admit({}, { kind: 'read' }))).toBe('admitted');
  });
});

describe('several calls at once', () => {
  const admitted = async (place: Place) => {
    const who = await place.admit({}, { kind: 'read' });
    if (who.kind === 'denied') throw new Error(who.rule);
    return who.caller;
  };

  test('are taken while the quota has room for all of them, and else none is', async () => {
    const place = new Place({ 'some.json': unsignedFile({ per_hour: { calls: 6 } }) });
    const caller = await admitted(place);
    expect(await place.principals.takeCalls(caller, 3)).toBeNull();
    expect(JSON.parse(place.texts.get('some@mcp-control.json') ?? '').calls).toEqual([[Math.floor(NOW / 60_000), 4]]);
    expect(await place.principals.takeCalls(caller, 3)).toBe('principal-calls');
    expect(await place.principals.takeCalls(caller, 2)).toBeNull();
    expect(ruleOf(await place.admit({}, { kind: 'read' }))).toBe('principal-calls');
    place.now += 61 * 60_000;
    expect(await place.principals.takeCalls(caller, 6)).toBeNull();
  });

  test('are written down by themselves, and are refused, not as used up, where that fails', async () => {
    const place = new Place({ 'some.json': unsignedFile({ per_hour: { calls: 99 } }) });
    const caller = await admitted(place);
    expect(await place.principals.takeCalls(caller, 1)).toBeNull();
    const { writes } = place;
    expect(await place.principals.takeCalls(caller, 1)).toBeNull();
    expect(place.writes).toBe(writes + 1);
    place.failing = true;
    expect(await place.principals.takeCalls(caller, 1)).toBe('principal-ledger');
  });

  test('cost nothing where there is no quota', async () => {
    const place = new Place({ 'some.json': unsignedFile({ per_hour: { questions: 1 } }) });
    for (const caller of [await admitted(place), { source: 'x' as QubeName, principal: 'default' }]) {
      expect(await place.principals.takeCalls(caller, 1_000)).toBeNull();
    }
    expect(place.writes).toBe(0);
  });
});

test('a quota of questions alone that cannot be read denies changes too, before any question', async () => {
  const place = new Place(
    { 'some.json': unsignedFile({ per_hour: { questions: 9 } }) },
    { 'some@mcp-control.json': 'x' },
  );
  expect(ruleOf(await place.admit({}))).toBe('principal-ledger');
  const read = await place.admit({}, { kind: 'read' });
  expect(ruleOf(read)).toBe('admitted');
  if (read.kind === 'admitted') expect(await place.principals.takeQuestion(read.caller)).toBe('principal-ledger');
  expect(place.texts.get('some@mcp-control.json')).toBe('x');
});

describe('the quota of questions', () => {
  const callerOf = async (place: Place) => {
    const who = await place.admit({});
    if (who.kind === 'denied') throw new Error(who.rule);
    return who.caller;
  };

  test('is so many within an hour, and on disk before one is shown', async () => {
    const place = new Place({ 'some.json': unsignedFile({ per_hour: { questions: 2 } }) });
    const caller = await callerOf(place);
    expect(await place.principals.takeQuestion(caller)).toBeNull();
    expect(JSON.parse(place.texts.get('some@mcp-control.json') ?? '').questions).toEqual([
      [Math.floor(NOW / 60_000), 1],
    ]);
    expect(place.principals.hasQuestionLeft(caller)).toBe(true);
    expect(await place.principals.takeQuestion(caller)).toBeNull();
    expect(place.principals.hasQuestionLeft(caller)).toBe(false);
    expect(await place.principals.takeQuestion(caller)).toBe('principal-questions');
    place.now += 61 * 60_000;
    place.failing = true;
    expect(await place.principals.takeQuestion(caller)).toBe('principal-ledger');
    place.failing = false;
    expect(await place.principals.takeQuestion(caller)).toBeNull();
  });

  test('is none where there is no quota, and costs nothing then', async () => {
    const place = new Place({ 'some.json': unsignedFile() });
    const caller = await callerOf(place);
    for (let each = 0; each < 50; each++) expect(await place.principals.takeQuestion(caller)).toBeNull();
    expect(await place.principals.takeQuestion({ source: 'x' as QubeName, principal: 'default' })).toBeNull();
    expect(place.principals.hasQuestionLeft({ source: 'x' as QubeName, principal: 'default' })).toBe(true);
    expect(place.principals.hasQuestionLeft(caller)).toBe(true);
    expect(place.writes).toBe(0);
  });
});

describe('a caller that was admitted', () => {
  test('has the limits that the operator gives it now', async () => {
    const place = new Place({ 'web.json': enrolled(), 'some.json': unsignedFile() });
    const web = await place.admit(place.signed());
    const some = await place.admit({});
    if (web.kind === 'denied' || some.kind === 'denied') throw new Error('denied');
    expect(place.principals.present(web.caller)).toEqual(web.caller);
    expect(place.principals.present(some.caller)).toEqual(some.caller);
    place.put('web.json', enrolled({ ceiling: 'ro' }));
    place.put('some.json', unsignedFile({ ceiling: 'exec' }));
    expect(place.principals.present(web.caller)).toMatchObject({
      principal: 'web',
      signed: true,
      limits: { ceiling: 'ro' },
    });
    expect(place.principals.present(some.caller)).toMatchObject({ principal: 'some', limits: { ceiling: 'exec' } });
  });

  test('is gone with its file, with its source, or when another makes its calls', async () => {
    const place = new Place({ 'web.json': enrolled(), 'some.json': unsignedFile() });
    const web = await place.admit(place.signed());
    const some = await place.admit({});
    if (web.kind === 'denied' || some.kind === 'denied') throw new Error('denied');
    place.put('web.json', enrolled({ sources: ['mcp-other'] }));
    place.put('other.json', unsignedFile({ sources: ['mcp-control'] }));
    expect(place.principals.present(web.caller)).toBeNull();
    expect(place.principals.present(some.caller)).toBeNull();
    expect(place.principals.present({ source: 'mcp-control' as QubeName, principal: 'default' })).toBeNull();
  });

  test('is the default one for as long as nobody is enrolled', () => {
    const place = new Place({});
    const caller = { source: 'mcp-control' as QubeName, principal: 'default' };
    expect(place.principals.present(caller)).toEqual(caller);
    expect(place.principals.present({ ...caller, principal: 'some' })).toBeNull();
    place.put('web.json', enrolled());
    expect(place.principals.present(caller)).toBeNull();
  });
});

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Row } from '../../daemon/journal/rows.ts';
import { decisions, type Past, replay } from '../../daemon/operator/simulate/replay.ts';
import { parseSettings } from '../../daemon/settings/files.ts';
import type { Settings } from '../../daemon/settings/settings.ts';
import { startDaemon } from '../broker/daemon.ts';
import { verbsOf } from './stage.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const SETTINGS = parseSettings(new Map());
const LEAST: Settings = { ...SETTINGS, tierDefault: 'ro' };
const asking = (...asked: string[]): Settings => ({
  ...SETTINGS,
  consentPolicy: { builtIn: false, asked: new Set(asked) },
});

const past = (more: Partial<Past> = {}): Past => ({
  ...{
    ts: '2026-01-31T12:00:00.000Z',
    source: 'agent',
    service: LIFECYCLE,
    action: 'start',
    kind: 'allow',
    rule: 'ladder',
  },
  ...{ qubes: [{ role: 'target', name: 'ai-x', uuid: 'u' }], args: {}, question: '1.1', times: 1, ...more },
});
const tagged = (...tags: string[]) => new Map([['u', new Set(tags)]]);

describe('with another consent-policy', () => {
  test.each<[string, Partial<Past>, Settings, string]>([
    ['what was allowed is asked where the policy names it', {}, asking(`${LIFECYCLE}:start`), 'ask'],
    ['what was allowed stays so where it does not', {}, asking(`${LIFECYCLE}:kill`), 'allow'],
    [
      'what was asked is allowed where it does not',
      { action: 'kill', kind: 'ask', rule: 'consent-policy' },
      asking('*:spawn'),
      'allow',
    ],
    [
      'what was asked stays so by the built-in set',
      { action: 'kill', kind: 'ask', rule: 'consent-policy' },
      SETTINGS,
      'ask',
    ],
    ['a guard is asked whatever the policy says', { kind: 'ask', rule: 'guarded' }, asking('*:spawn'), 'ask'],
    ['what was refused stays refused', { kind: 'refuse', rule: 'insufficient:full' }, asking('*:*'), 'refuse'],
    [
      'a destructive property is known by its name',
      { service: 'qmcp.SetPropertyAIManaged', action: 'set-property', args: { property: 'template' } },
      SETTINGS,
      'ask',
    ],
  ])('%s', (_, more, after, kind) => {
    expect(replay(past(more), SETTINGS, after, new Map())).toEqual({ kind });
  });
});

describe('in another mode', () => {
  test.each<[string, Partial<Past>, ReadonlyMap<string, ReadonlySet<string>>, object]>([
    ['an untiered qube is refused', {}, tagged('ai-managed'), { kind: 'refuse' }],
    ['one with its tier is not', {}, tagged('ai-managed', 'ai-full'), { kind: 'allow' }],
    ['a qube that is gone leaves it unknown', {}, new Map(), { kind: 'unknown', why: 'qube-gone' }],
    ['tags that do not explain the record leave it unknown', {}, tagged(), { kind: 'unknown', why: 'changed-since' }],
    [
      'what was refused for another reason stays refused',
      { kind: 'refuse', rule: 'argument' },
      new Map(),
      { kind: 'refuse' },
    ],
  ])('%s', (_, more, tags, result) => {
    expect(replay(past(more), SETTINGS, LEAST, tags)).toEqual(result);
  });

  test('back in compat, what the tier refused is allowed', () => {
    const refused = past({ kind: 'refuse', rule: 'insufficient:full' });
    expect(replay(refused, LEAST, SETTINGS, tagged('ai-managed'))).toEqual({ kind: 'allow' });
    expect(replay(refused, LEAST, SETTINGS, tagged('ai-managed', 'ai-exec'))).toEqual({ kind: 'refuse' });
  });
});

test('of each call the first decision counts, of each start anew, and none of the broker itself', () => {
  const row = (more: Partial<Row>): Row =>
    ({
      type: 'decision',
      ts: '',
      source: 'a',
      service: LIFECYCLE,
      action: 'start',
      qubes: [],
      args: '{}',
      result: 'allow',
      detail: 'ladder',
      line: '',
      ...more,
    }) as Row;
  const take = decisions();
  const seen = [
    row({ type: 'start' }),
    row({ call: 1 }),
    row({ call: 1, result: 'refuse', detail: 'questions-rest' }),
    row({ call: 2, result: 'ask' }),
    row({ call: 3, type: 'outcome' }),
    row({ call: 4, source: 'dom0', service: 'qmcp.TombstoneReaper' }),
    row({ call: 4, result: 'refuse', detail: 'refusals-not-listed', args: '{"unlisted":40}' }),
    row({ type: 'start' }),
    row({ call: 1 }),
  ].map(take);
  expect(seen.map((each) => each && [each.kind, each.question, each.times])).toEqual([
    ...[null, ['allow', '1.1', 1], null, ['ask', '1.2', 1], null, null],
    ...[['refuse', '1.4', 40], null, ['allow', '2.1', 1]],
  ]);
});

describe('qmcpctl simulate', () => {
  const played = async () => {
    const { daemon } = await startDaemon({ operatorFiles: {} });
    for (const [name, action] of [
      ['ai-idle', 'start'],
      ['ai-full1', 'start'],
      ['vault', 'start'],
      ['ai-work', 'kill'],
    ]) {
      await daemon.call(LIFECYCLE, { name, action });
    }
    return { daemon, run: verbsOf(daemon) };
  };

  test('counts what another mode would have made of the journal, and names what changes', async () => {
    const { run } = await played();
    const { code, out, err } = await run(['simulate', '--mode', 'least-privilege']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/UTC: 4 calls\n/);
    expect(out).toMatch(/^as it was +2 +1 +1$/m);
    expect(out).toMatch(/^as it would be +1 +0 +3 +0$/m);
    expect(out).toMatch(/^allow -> refuse +Lifecycle +start +ai-idle +1$/m);
    expect(out).toMatch(/^ask -> refuse +Lifecycle +kill +ai-work +1$/m);
    const json = JSON.parse((await run(['simulate', '--mode', 'least-privilege', '--json'])).out);
    expect(json).toMatchObject({
      calls: 4,
      questions_per_day: { before: 1, after: 0 },
      unknown: { 'qube-gone': 0, 'changed-since': 0 },
    });
  });

  test('takes a consent-policy from a file, and refuses one that is not understood', async () => {
    const { daemon, run } = await played();
    const file = join(daemon.root, 'policy');
    writeFileSync(file, '# all\n*:start\n');
    const { out } = await run(['simulate', '--consent-policy', file]);
    expect(out).toMatch(/^as it would be +1 +2 +1 +0$/m);
    expect((await run(['simulate', '--consent-policy', '-'])).out).toContain('No verdict changes.');
    writeFileSync(file, 'everything\n');
    expect(await run(['simulate', '--consent-policy', file])).toMatchObject({
      code: 1,
      err: expect.stringContaining("'everything' is not understood"),
    });
    expect(await run(['simulate', '--consent-policy', '/nonexistent'])).toMatchObject({ code: 1 });
  });

  test('says what is gone, and looks only as far back as it is told', async () => {
    const { daemon, run } = await played();
    const text = readFileSync(daemon.journalFile, 'utf8');
    const copy = join(daemon.root, 'log2');
    mkdirSync(copy);
    writeFileSync(join(copy, 'audit.jsonl'), text.replace(/"uuid":"[0-9a-f]/g, '"uuid":"f'));
    const other = verbsOf(Object.assign(Object.create(daemon), { log: copy }));
    expect((await other(['simulate', '--mode', 'least-privilege'])).out).toMatch(
      /of UNKNOWN: the call is about a qube that is gone/,
    );
    const later = verbsOf(daemon, { now: () => Date.now() + 2 * 86_400_000 });
    expect((await later(['simulate', '--mode', 'compat', '--since', '1d'])).out).toContain('nothing was decided');
    expect((await run(['simulate', '--mode', 'compat', '--since', 'yesterday'])).code).toBe(2);
  });

  test.each([
    ['nothing to simulate', []],
    ['a mode that there is not', ['--mode', 'paranoid']],
  ])('with %s it exits 2', async (_, args) => {
    const { daemon } = await startDaemon();
    expect((await verbsOf(daemon)(['simulate', ...args])).code).toBe(2);
  });
});

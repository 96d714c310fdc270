// Every verb against a running daemon, once for a person and once for a program; what the program gets is held against the
// shape that --help and the man page document.
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { shapesOf } from '../../daemon/operator/help.ts';
import { type Daemon, startDaemon } from '../broker/daemon.ts';
import { startApprover } from '../confirm/approver.ts';
import { FLEET } from '../demo/fleet.ts';
import { misfits, parseShape } from './shape.ts';
import { allVerbs, verbsOf } from './stage.ts';

const KEY = 'A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=';
const OTHER_KEY = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=';
const SET = 'qmcp.SetPropertyAIManaged';
const LIFECYCLE = 'qmcp.LifecycleAIManaged';

/** The demo's fleet with the policy, a journal with some of everything in it, a backup and a tombstone. */
const machine = async () => {
  const policy = mkdtempSync(join(tmpdir(), 'qmcp-policy-'));
  onTestFinished(() => rmSync(policy, { recursive: true }));
  cpSync('policy', policy, { recursive: true });
  const operatorFiles = { tombstones: 'on\n', 'pool-cap': '1\n' };
  const { daemon } = await startDaemon({ fleet: FLEET, operatorFiles, flags: ['--policy', policy] });
  symlinkSync(policy, join(daemon.root, 'policy.d'));
  const approver = await startApprover(join(daemon.run, 'confirm.sock'));
  approver.reflex = (asked) => asked.approve();
  const run = verbsOf(daemon);
  await run(['config', 'set', 'confirm.pub', approver.publicKey]);
  await daemon.call(SET, { name: 'ai-research', property: 'label', value: 'red' });
  await daemon.call(LIFECYCLE, { name: 'ai-scratch', action: 'remove' });
  await daemon.call(LIFECYCLE, { name: 'vault', action: 'start' });
  return { daemon, approver, run };
};
type Place = Awaited<ReturnType<typeof machine>>;

const seqOf = (daemon: Daemon, action: string): string =>
  String(daemon.journal().find((each) => each.type === 'intent' && each.action === action)?.seq);
const backup = async ({ run }: Place): Promise<string> =>
  JSON.parse((await run(['config', 'restore', '--json'])).out)[0].id;
const enrolled = async (place: Place): Promise<void> => {
  await place.run(['principals', 'add', 'web', '--key', KEY, '--source', 'mcp-control', '--ceiling', 'ro', '-y']);
};

interface Case {
  /** The verb and what is typed after it. */
  readonly args: (place: Place) => readonly string[] | Promise<readonly string[]>;
  readonly before?: (place: Place) => unknown;
  /** Which of the documented shapes, where there are several. */
  readonly when?: string;
  /** The exit code, where it is not 0. */
  readonly code?: number;
  /** Something that a person is told. */
  readonly says: RegExp;
}
const says = (said: RegExp, ...args: string[]): Case => ({ args: () => args, says: said });

/** By the words of the verb. */
const CASES: Readonly<Record<string, readonly Case[]>> = {
  init: [says(/^done {2}There is a settings directory/)],
  status: [
    says(/^Daemon +has run/),
    {
      ...says(/^Settings +.*guarded, line 1/m),
      before: ({ daemon }) => daemon.operatorFile('guarded', '?\n'),
      code: 1,
    },
    { ...says(/^Frozen +mcp-control$/m), before: ({ run }) => run(['freeze', 'mcp-control']) },
  ],
  doctor: [{ ...says(/things were looked at\.\n$/, '--root', '/nonexistent'), code: 1 }],
  'tier show': [says(/^ai-research +AppVM +full/m), says(/^vault +AppVM +none/m, '--all')],
  'tier set': [says(/^ai-notes has the tier exec \(\+ai-exec\)\.\n$/, 'ai-notes', 'exec')],
  mode: [
    says(/^compat: /),
    says(/^ai-notes +ro +read +exec net full$/m, 'least-privilege', '--dry-run'),
    says(/The mode is least-privilege\./, 'least-privilege', '--yes'),
  ],
  'config list': [says(/^pool-cap +1 \(1 bytes?\) +file$/m)],
  'config get': [says(/^1\n$/, 'pool-cap'), says(/^nobody\n$/, 'guarded')],
  'config set': [says(/^guarded is vault\./, 'guarded', 'vault'), says(/^pool-cap was so already/, 'pool-cap', '1')],
  'config unset': [says(/^pool-cap is unset/, 'pool-cap')],
  'config restore': [
    { ...says(/^BACKUP +BEFORE +FILES\n\d{8}T/), when: 'without BACKUP' },
    { args: async (place) => [await backup(place)], when: 'with BACKUP', says: /^Restored: / },
  ],
  explain: [
    says(/^ALLOW, by the rule ladder/m, LIFECYCLE, '{"name":"ai-research","action":"start"}'),
    says(/^ASK, by the rule consent-policy/m, LIFECYCLE, '{"name":"ai-research","action":"remove"}'),
    says(/^REFUSE, by the rule outside-umbrella/m, LIFECYCLE, '{"name":"vault","action":"start"}'),
    says(/^REFUSE, by the rule missing/m, LIFECYCLE, '{"name":"nobody","action":"start"}'),
    {
      ...says(
        /^Ceiling of the principal: ro$/m,
        'lifecycle',
        '{"name":"ai-notes","action":"start"}',
        '--principal',
        'web',
      ),
      before: enrolled,
    },
  ],
  simulate: [says(/calls?\n[\s\S]*Questions a day/, '--mode', 'least-privilege', '--since', '1d')],
  pending: [
    says(/^No question is open\.\n$/),
    {
      ...says(/^Remove ai-crawler/),
      before: async ({ daemon, approver }) => {
        approver.reflex = null;
        void daemon.call(LIFECYCLE, { name: 'ai-crawler', action: 'remove' }).catch(() => {});
        await approver.next();
        void daemon
          .call(LIFECYCLE, { name: 'ai-archive', action: 'remove' }, { source: 'mcp-control' })
          .catch(() => {});
      },
    },
  ],
  freeze: [says(/^mcp-control is frozen\./, 'mcp-control')],
  thaw: [says(/^mcp-control was not frozen\./, 'mcp-control')],
  'principals list': [says(/^Nobody is enrolled/), { ...says(/^web +signed +mcp-control +ro/m), before: enrolled }],
  'principals add': [
    says(/^web is enrolled\./, 'web', '--key', KEY, '--source', 'mcp-control', '--ceiling', 'ro', '--yes'),
  ],
  'principals remove': [{ ...says(/^web is not enrolled any more\./, 'web', '--yes'), before: enrolled }],
  'principals rotate': [{ ...says(/^web has its new key\./, 'web', '--key', OTHER_KEY), before: enrolled }],
  'tombstones list': [says(/^ai-scratch +.* ago +in /m)],
  'tombstones restore': [says(/^ai-scratch is back with the tier exec\.\n$/, 'ai-scratch', '--tier', 'exec')],
  'tombstones reap': [
    says(/^Nothing was destroyed\.\nLeft: ai-scratch \(waits\)\n$/),
    says(/^Destroyed: ai-scratch\n$/, 'ai-scratch', '--yes'),
  ],
  undo: [
    { ...says(/^\d+ +.*ai-scratch +removed/m, 'list'), when: 'with list' },
    { args: ({ daemon }) => [seqOf(daemon, 'set-property')], when: 'with SEQ', says: /It is put back\.\n$/ },
    { args: ({ daemon }) => [seqOf(daemon, 'remove'), '--dry-run'], when: 'with SEQ', says: /Nothing was done\./ },
  ],
  'audit tail': [says(/^ *\d+ .* start vault +refuse: outside-umbrella$/m, '-n', '50')],
  'audit show': [says(/^RECORD +UTC +SOURCE +WHAT +RESULT\n1 /)],
  'audit verify': [
    says(/^All \d+ records are intact\.\n/),
    { ...says(/NOT INTACT/), before: ({ daemon }) => writeFileSync(daemon.journalFile, '{}\n'), code: 1 },
  ],
  'audit export': [says(/^\{"[\s\S]*"type":"decision"/)],
  'audit report': [{ args: ({ daemon }) => ['--out', join(daemon.root, 'page.html')], says: /^$/ }],
  migrate: [
    {
      args: ({ daemon }) => ['--root', daemon.root, '--dry-run'],
      before: ({ daemon }) => {
        mkdirSync(join(daemon.root, 'etc/qubes-rpc'), { recursive: true });
        writeFileSync(join(daemon.root, 'etc/qubes-rpc/qmcp.Old'), '');
      },
      says: /^\/etc\/qubes-rpc\/qmcp\.Old +the script of a service\n$/,
    },
  ],
  version: [says(/^qmcpctl +\d/)],
};
/** Would say something else the second time. */
const CHANGING: ReadonlySet<string> = new Set([
  ...['tier set', 'mode', 'config set', 'config unset', 'config restore', 'freeze', 'undo', 'tombstones restore'],
  ...['audit report', 'tombstones reap', 'principals add', 'principals remove', 'principals rotate'],
]);
/** Has a test of its own, beside itself. */
const ELSEWHERE: ReadonlySet<string> = new Set(['approve']);

test('every verb is here, and each of its documented shapes', () => {
  const verbs = allVerbs().map(({ path }) => path.join(' '));
  expect(Object.keys(CASES).sort()).toEqual(verbs.filter((name) => !ELSEWHERE.has(name)).sort());
  const without = allVerbs().filter(({ command }) => command.definition?.json === null);
  expect(without.map(({ path }) => path.join(' '))).toEqual([...ELSEWHERE]);
  for (const { path, command } of allVerbs()) {
    const shapes = shapesOf(command.definition?.json ?? null);
    const tried = new Set(CASES[path.join(' ')]?.map(({ when }) => when ?? shapes[0]?.when));
    for (const { when } of shapes) expect(tried, path.join(' ')).toContain(when);
  }
});

describe.each(
  allVerbs()
    .map(({ path, command }) => [path.join(' '), command.definition?.json ?? null] as const)
    .filter(([name]) => Object.hasOwn(CASES, name)),
)('%s', (name, json) => {
  test.each((CASES[name] ?? []).map((each, index) => [index + 1, each] as const))(
    'case %i: a person is told, and a program gets what is documented',
    async (_, { args, before, when, code = 0, says }) => {
      const set = async (): Promise<Place> => {
        const place = await machine();
        await before?.(place);
        return place;
      };
      let place = await set();
      const typed = async (...more: string[]) => place.run([...name.split(' '), ...(await args(place)), ...more]);
      const text = await typed();
      expect(text.out).toMatch(says);
      expect(text.code).toBe(code);
      const isPage = /report|export/.test(name);
      // Sentences are wrapped by the terminal; what stands in columns would not be readable then.
      for (const line of isPage ? [] : text.out.split('\n')) {
        if (/\S {2,}\S/.test(line)) expect(line.length, line).toBeLessThanOrEqual(80);
      }
      if (json === null) return;
      const shapes = shapesOf(json);
      const shape = parseShape((shapes.find((each) => each.when === when) ?? shapes[0])?.shape ?? '');
      if (CHANGING.has(name)) place = await set();
      const { code: ended, out } = await typed('--json');
      expect(ended).toBe(code);
      const lines = out.trimEnd().split('\n');
      if (!name.startsWith('audit ') || name === 'audit verify') expect(lines).toHaveLength(1);
      for (const line of lines) expect(misfits(JSON.parse(line), shape)).toEqual([]);
    },
    30_000,
  );
});

test.each([
  ['{"a": n}', { a: 1, b: 2 }, ['.b is not documented']],
  ['{"a": n, ...}', { a: 1, b: 2 }, []],
  ['{"a": n, "b"}', { a: 1 }, ['.b is missing']],
  ['{"a": n or null}', { a: 'x' }, ['.a is "x", not a number']],
  ['[{"a": "x" or "y"}]', [{ a: 'x' }, { a: 'z' }], ['[1].a is "z", not x']],
  ['[text]', {}, ['all of it is {}, not a list']],
])('a value that is not of the shape %s is noticed', (shape, value, found) => {
  expect(misfits(value, parseShape(shape))).toEqual(found);
});

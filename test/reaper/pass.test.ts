import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { QubeName } from '../../daemon/names.ts';
import { AdminError } from '../../daemon/qubesadmin/wire.ts';
import { type KnownVerdicts, type PassParts, pass, tombstonesIn } from '../../daemon/reaper/pass.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import type { QubeSpec } from '../qubesd/fleet.ts';

const HOUR = 3_600;
const DAY = 86_400;
/** Seconds. */
const NOW = 1_800_000_000;

const marked = (age: number, more: QubeSpec = {}): QubeSpec => ({ tags: [`qmcp-tombstone_${NOW - age}`], ...more });

const FLEET: Record<string, QubeSpec> = {
  dom0: { klass: 'AdminVM', state: 'Running', tags: [] },
  'ai-alive': { tags: ['ai-managed'] },
  'ai-due': marked(DAY, { tags: [`qmcp-tombstone_${NOW - DAY}`, 'qmcp-guarded', 'mylabel'] }),
  'ai-fresh': marked(DAY - 1),
  'ai-stuck': { tags: ['ai-managed', 'qmcp-tombstone_1'] },
  'ai-undatable': { tags: ['qmcp-tombstone_x'] },
  'ai-running': marked(2 * DAY, { state: 'Running' }),
};

interface Setting {
  readonly broker: InProcess;
  readonly known: KnownVerdicts;
  /** Seconds. */
  now: number;
  readonly parts: PassParts;
  readonly pass: () => Promise<void>;
  readonly told: () => Promise<string[]>;
}

const setUp = async (
  qubes: Record<string, QubeSpec> = FLEET,
  operatorFiles: Record<string, string> = {},
): Promise<Setting> => {
  const broker = await temporaryBroker({ fleet: { qubes }, operatorFiles });
  const { admin, view: fleet, settings, journal } = broker;
  const known: KnownVerdicts = new Map();
  const setting = {
    broker,
    known,
    now: NOW,
    parts: {
      admin,
      fleet,
      settings,
      journal,
      alone: broker.broker.housekeeping,
      now: () => setting.now * 1000,
      monotonicMs: () => performance.now(),
      stopping: new AbortController().signal,
    },
    pass: () => pass(setting.parts, known),
    /** The journal in short: `ai-due decision due`, `ai-due outcome ok`. */
    told: async () =>
      (await broker.lines()).map(({ type, args, rule, ok, cause }) => {
        const { name } = args as { name: string | null };
        return [name ?? '-', type, rule ?? cause ?? (ok === true ? 'ok' : '')].join(' ').trim();
      }),
  };
  return setting;
};

describe('a pass', () => {
  test('destroys what is due, by its uuid, and lets everything else be', async () => {
    const { broker, pass } = await setUp();
    const { uuid } = broker.world.qube('ai-due');
    await pass();
    expect([...broker.world.qubes.keys()].sort()).toEqual(
      Object.keys(FLEET)
        .filter((name) => name !== 'ai-due')
        .sort(),
    );
    expect(broker.qubesd.changes()).toEqual(
      [['admin.vm.Remove', `uuid:${uuid}`]].map(([method]) => [method, 'ai-due']),
    );
    expect(broker.qubesd.calls.find(({ method }) => method === 'admin.vm.Remove')?.rawDest).toBe(`uuid:${uuid}`);
  });

  test('lets the view know at once, however late the event', async () => {
    const { broker, pass, parts } = await setUp();
    await parts.fleet.snapshot();
    broker.qubesd.streams.hold();
    await pass();
    expect((await parts.fleet.snapshot()).has('ai-due' as QubeName)).toBe(false);
  });

  test('journals each verdict by its name, and the removal as intent and outcome', async () => {
    const { broker, pass, told } = await setUp();
    const { uuid } = broker.world.qube('ai-due');
    await pass();
    expect(await told()).toEqual([
      'ai-due decision due',
      'ai-due intent',
      'ai-due outcome ok',
      'ai-fresh decision within-window',
      'ai-running decision running',
      'ai-stuck decision stuck-in-umbrella',
      'ai-undatable decision undatable',
    ]);
    const [decision, intent, outcome, , , , undatable] = await broker.lines();
    const of = {
      service: 'qmcp.TombstoneReaper',
      action: 'reap',
      source: 'dom0',
      args: { name: 'ai-due', verdict: 'due', age_s: DAY },
      qubes: [{ role: 'target', name: 'ai-due', uuid }],
    };
    expect(decision).toMatchObject({ ...of, verdict: 'allow' });
    expect(intent).toMatchObject({ ...of, nonce: null, digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(outcome).toMatchObject({ ...of, ok: true, error: null, call: intent?.call });
    expect(undatable).toMatchObject({ verdict: 'refuse', args: { age_s: -1 } });
  });

  test('has the intent on disk before it removes', async () => {
    const { broker, pass } = await setUp();
    let onDisk = '';
    broker.qubesd.onCall = ({ method }) => {
      if (method === 'admin.vm.Remove') onDisk = readFileSync(join(broker.log, 'audit.jsonl'), 'utf8');
    };
    await pass();
    expect(onDisk).toContain('"type":"intent"');
    expect(onDisk).not.toContain('"type":"outcome"');
  });

  test('says again only what is news, so that a tombstone in its window takes one record', async () => {
    const setting = await setUp({ 'ai-fresh': marked(DAY - HOUR) });
    await setting.pass();
    await setting.pass();
    expect(await setting.told()).toEqual(['ai-fresh decision within-window']);
    setting.now += HOUR;
    await setting.pass();
    expect((await setting.told()).slice(1)).toEqual([
      'ai-fresh decision due',
      'ai-fresh intent',
      'ai-fresh outcome ok',
    ]);
    await setting.pass();
    expect([...setting.known]).toEqual([]);
  });

  test('tries again what it could not remove, with an intent and an outcome each time', async () => {
    const setting = await setUp({
      'ai-due': marked(DAY),
      'ai-user': { tags: ['ai-managed'], props: { default_dispvm: 'ai-due' } },
    });
    await setting.pass();
    await setting.pass();
    const failure = ['ai-due intent', 'ai-due outcome QubesVMInUseError'];
    expect(await setting.told()).toEqual(['ai-due decision due', ...failure, ...failure]);
    const outcome = (await setting.broker.lines()).at(-1);
    expect(outcome).toMatchObject({ ok: false, error: 'remove failed' });
    expect(setting.broker.world.qubes.has('ai-due')).toBe(true);
  });

  test('skips everything, without a call to qubesd, while the retention is malformed, and says so once', async () => {
    const setting = await setUp(FLEET, { 'tombstone-retention': '-1\n' });
    const { broker } = setting;
    await setting.parts.fleet.snapshot();
    broker.qubesd.reset();
    await setting.pass();
    await setting.pass();
    expect(broker.qubesd.calls).toEqual([]);
    expect(await setting.told()).toEqual(['- decision config-malformed']);
    expect((await broker.lines())[0]).toMatchObject({
      verdict: 'refuse',
      args: { verdict: 'config-malformed', age_s: -1, error: 'retention unreadable' },
      qubes: [],
    });

    writeFileSync(join(broker.etc, 'tombstone-retention'), `${10 * DAY}\n`);
    await setting.pass();
    writeFileSync(join(broker.etc, 'tombstone-retention'), 'x\n');
    await setting.pass();
    expect((await setting.told()).filter((line) => line.startsWith('-'))).toHaveLength(2);
    expect(broker.world.qubes.has('ai-due')).toBe(true);
  });

  test('believes only what it reads itself, however fresh the view takes itself to be', async () => {
    const qubes = {
      'ai-restored': marked(DAY),
      'ai-reused': marked(DAY),
      'ai-started': marked(DAY),
      'ai-gone': marked(DAY),
    };
    const { broker, pass, parts } = await setUp(qubes);
    await parts.fleet.snapshot();
    broker.world.silently(() => {
      broker.world.addTag('ai-restored', 'ai-managed');
      broker.world.recreate('ai-reused', { tags: ['ai-managed'] });
      broker.world.setState('ai-started', 'Running');
      broker.world.remove('ai-gone');
    });
    expect(tombstonesIn(await parts.fleet.snapshot())).toHaveLength(4);
    await pass();
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test.each([
    ['an exception', { exception: ['QubesException', 'x'] as const }],
    ['an empty answer', 'empty' as const],
    ['half an answer', { cut: 10 }],
  ])('counts a qube whose power state gives %s as running', async (_, fault) => {
    const { broker, pass, told } = await setUp({ 'ai-due': marked(DAY) });
    broker.qubesd.faults.inject({ method: 'admin.vm.CurrentState', fault });
    await pass();
    expect(await told()).toEqual(['ai-due decision running']);
    expect(broker.world.qubes.has('ai-due')).toBe(true);
  });

  test('leaves a qube alone whose tags cannot be read', async () => {
    const { broker, pass, parts } = await setUp({ 'ai-due': marked(DAY) });
    await parts.fleet.snapshot();
    broker.qubesd.faults.inject({ method: 'admin.vm.tag.List', fault: { exception: ['QubesException', 'x'] } });
    await pass();
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('removes nothing that cannot be journalled', async () => {
    const { broker, pass } = await setUp();
    await broker.journal.close();
    await expect(pass()).rejects.toThrow();
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('ends when qubesd is away', async () => {
    const { broker, pass } = await setUp();
    await broker.qubesd.stop();
    await expect(pass()).rejects.toBeInstanceOf(AdminError);
  });

  test('looks at no further qube once the broker stops', async () => {
    const { broker, parts, known } = await setUp({ 'ai-a': marked(DAY), 'ai-b': marked(DAY) });
    const stopping = new AbortController();
    broker.qubesd.onDone = ({ method }) => {
      if (method === 'admin.vm.Remove') stopping.abort();
    };
    await pass({ ...parts, stopping: stopping.signal }, known);
    expect([...broker.world.qubes.keys()].filter((name) => name.startsWith('ai-'))).toEqual(['ai-b']);
  });

  test('waits for a call that works on the same qube', async () => {
    const { broker, pass } = await setUp({ 'ai-due': marked(DAY) });
    let finish = (): void => {};
    const busy = broker.broker.housekeeping(['ai-due' as QubeName], () => new Promise<void>((done) => (finish = done)));
    const passing = pass();
    await broker.admin.list();
    await broker.admin.list();
    expect(broker.qubesd.changes()).toEqual([]);
    finish();
    await Promise.all([busy, passing]);
    expect(broker.world.qubes.has('ai-due')).toBe(false);
  });

  test('destroys exactly what the reaper matrix says', async () => {
    const file = new URL('../contract/reaper-matrix.json', import.meta.url);
    const rows: { tags: string[]; retention: number | null; running: boolean; now: number; due: boolean }[] =
      JSON.parse(readFileSync(file, 'utf8'));
    const settings = new Set(rows.map(({ retention, now }) => JSON.stringify([retention, now])));
    for (const key of settings) {
      const [retention, now] = JSON.parse(key);
      const group = rows.filter((row) => row.retention === retention && row.now === now);
      const named = group.map((row, index) => [`ai-${index}`, row] as const);
      const qubes = Object.fromEntries(
        named.map(([name, { tags, running }]) => [name, { tags, state: running ? 'Running' : 'Halted' }]),
      );
      const setting = await setUp(qubes, { 'tombstone-retention': retention === null ? 'x\n' : `${retention}\n` });
      setting.now = now;
      await setting.pass();
      const gone = named.filter(([name]) => !setting.broker.world.qubes.has(name)).map(([name]) => name);
      expect(gone, key).toEqual(named.filter(([, { due }]) => due).map(([name]) => name));
    }
  });
});

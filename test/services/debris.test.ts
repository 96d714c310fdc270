import { describe, expect, test, vi } from 'vitest';
import { openIntents, type Seen, type UnfinishedIntent } from '../../daemon/journal/open-intents.ts';
import type { JournalRecord, NamedQube, StepTaken } from '../../daemon/journal/record.ts';
import { JournalUnavailable } from '../../daemon/journal/unavailable.ts';
import type { Change, UndoEntry } from '../../daemon/journal/undo-entry.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { adminOver } from '../../daemon/qubesadmin/admin.ts';
import { adminCallsTo } from '../../daemon/qubesadmin/client.ts';
import { type Kept, type Settled, settle, settledText, startSettling } from '../../daemon/services/debris.ts';
import { Quarantine } from '../../daemon/services/quarantine.ts';
import type { FaultRule } from '../qubesd/faults.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import type { Qubesd } from '../qubesd/server.ts';
import { temporaryQubesd } from '../qubesd/temporary.ts';
import { type QuarantineFiles, quarantineFiles } from './quarantine-files.ts';

const FLEET: FleetSpec = {
  qubes: {
    'ai-debian': { klass: 'TemplateVM', tags: ['ai-managed'] },
    'ai-fedora': { klass: 'TemplateVM', tags: ['ai-managed'] },
    'ai-dvmt': { tags: ['ai-managed'], props: { template: 'ai-debian', template_for_dispvms: 'True' } },
    'ai-source': { tags: ['ai-managed'], props: { template: 'ai-debian' } },
    'sys-firewall': { tags: [], props: { template: 'ai-debian', provides_network: 'True' } },
  },
};
const SPAWN = 'qmcp.SpawnAIManagedQube';
const DISPOSABLE = 'qmcp.SpawnDisposableAIManaged';
const CLONE = 'qmcp.CloneAIManagedQube';
const LIFECYCLE = 'qmcp.LifecycleAIManaged';

const NOW = 1_800_000_000_000;
const create: StepTaken = { step: 'create', qube: null };

const setUp = async (fleet: FleetSpec = FLEET) => {
  const qubesd = await temporaryQubesd({ fleet });
  const admin = adminOver(adminCallsTo(qubesd.path));
  const records: JournalRecord[] = [];
  const journal = {
    append: async (record: JournalRecord) => {
      records.push(record);
      return { seq: records.length };
    },
  };
  const quarantine = new Quarantine(quarantineFiles());
  const alone = <T>(_: readonly string[], work: () => Promise<T>): Promise<T> => work();
  const betweenCreations = <T>(work: () => Promise<T>): Promise<T> => work();
  const parts = { admin, journal, quarantine, now: () => NOW, alone, betweenCreations };
  const named = (role: string, name: string): NamedQube => ({ role, name, uuid: qubesd.world.qube(name).uuid });
  const created = (step: string, name: string): StepTaken => ({ step, qube: named('created', name) });
  const intent = (service: string, changes: Partial<UnfinishedIntent>): UnfinishedIntent => ({
    type: 'intent',
    call: 1,
    source: 'mcp-control',
    principal: 'default',
    service,
    action: 'spawn',
    qubes: [],
    args: {},
    digest: '0'.repeat(64),
    nonce: null,
    seq: 7,
    ts: '2026-01-31T12:00:00.000Z',
    steps: [],
    current: true,
    ...changes,
  });
  /** What is found about one intent at the first try. */
  const found = async (unfinished: UnfinishedIntent, first = true, kept?: Kept): Promise<Settled> => {
    qubesd.reset();
    const [settled] = await settle({ ...parts, unfinished: [unfinished], ...(kept && { undo: kept }) }, first);
    return settled as Settled;
  };
  const spawned = (steps: readonly StepTaken[], args: UnfinishedIntent['args'] = {}): UnfinishedIntent =>
    intent(SPAWN, {
      qubes: [named('template', 'ai-debian')],
      args: { name: 'ai-new', klass: 'AppVM', ...args },
      steps,
    });
  const cloned = (steps: readonly StepTaken[]): UnfinishedIntent =>
    intent(CLONE, { qubes: [named('source', 'ai-source')], args: { name: 'ai-new' }, steps });
  const disposed = (steps: readonly StepTaken[]): UnfinishedIntent =>
    intent(DISPOSABLE, { qubes: [named('dvmt', 'ai-dvmt')], steps });
  return {
    qubesd,
    admin,
    journal,
    parts,
    quarantine,
    records,
    named,
    created,
    intent,
    found,
    spawned,
    cloned,
    disposed,
  };
};

const has = ({ world }: Qubesd, name: string): boolean => world.qubes.has(name);
const ON_DEBIAN = { template: 'ai-debian', netvm: 'sys-firewall' };

describe('a creation', () => {
  test('that never got to its order is journalled as not done, without a change', async () => {
    const { qubesd, found, spawned, records } = await setUp();
    expect(await found(spawned([]))).toMatchObject({ finding: 'not-done', qubes: [] });
    expect(qubesd.calls).toEqual([]);
    expect(records).toEqual([
      { type: 'finding', intent_seq: 7, service: SPAWN, action: 'spawn', finding: 'not-done', qubes: [] },
    ]);
  });

  test('that was complete is left alone, whatever the qube is like now', async () => {
    const { qubesd, found, spawned, created, named } = await setUp();
    qubesd.world.add('ai-new', { tags: ['ai-managed'], state: 'Running', props: ON_DEBIAN });
    const settled = await found(spawned([create, created('stamp', 'ai-new'), created('complete', 'ai-new')]));
    expect(settled).toMatchObject({ finding: 'done', qubes: [named('created', 'ai-new')] });
    expect(qubesd.changes()).toEqual([]);
  });

  test('that was not complete is taken back by its uuid', async () => {
    const { qubesd, found, spawned, created } = await setUp();
    qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
    const { uuid } = qubesd.world.qube('ai-new');
    expect(await found(spawned([create, created('stamp', 'ai-new')]))).toMatchObject({ finding: 'not-done' });
    expect(qubesd.changes()).toEqual([['admin.vm.Remove', 'ai-new']]);
    expect(qubesd.calls.find(({ method }) => method === 'admin.vm.Remove')?.rawDest).toBe(`uuid:${uuid}`);
  });

  test('whose qube is gone already is not done, and another of its name stays', async () => {
    const { qubesd, found, spawned, created } = await setUp();
    qubesd.world.add('ai-new', { props: ON_DEBIAN });
    const steps = [create, created('stamp', 'ai-new')];
    qubesd.world.recreate('ai-new', { props: ON_DEBIAN });
    expect(await found(spawned(steps))).toMatchObject({ finding: 'not-done' });
    expect(has(qubesd, 'ai-new')).toBe(true);
  });

  test('whose qube somebody runs is not killed, but put out of reach and off the network', async () => {
    const { qubesd, found, spawned, created } = await setUp();
    const tags = ['ai-managed', 'ai-full', 'qmcp-owner_x', 'qmcp-guarded', 'anon-vm', 'mine', 'created-by-dom0'];
    qubesd.world.add('ai-new', { tags, state: 'Running', props: ON_DEBIAN });
    expect(await found(spawned([create, created('pin', 'ai-new')]))).toMatchObject({ finding: 'half-done' });
    const { tags: left, props, state } = qubesd.world.qube('ai-new');
    expect([...left].sort()).toEqual(['anon-vm', 'created-by-dom0', 'mine', 'qmcp-guarded']);
    expect(props.get('netvm')).toBeNull();
    expect(state).toBe('Running');
    expect(qubesd.changes()[0]).toEqual(['admin.vm.tag.Remove+ai-managed', 'ai-new']);
  });

  test('whose qube cannot be removed is put out of reach, too', async () => {
    const { qubesd, found, spawned, created } = await setUp();
    qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
    qubesd.faults.inject({ method: 'admin.vm.Remove', fault: { exception: ['QubesVMInUseError', 'x'] } });
    expect(await found(spawned([create, created('pin', 'ai-new')]))).toMatchObject({ finding: 'half-done' });
    expect([...qubesd.world.qube('ai-new').tags]).toEqual([]);
  });

  test('whose disposable runs already is killed and removed', async () => {
    const { qubesd, found, disposed, created } = await setUp();
    const props = { template: 'ai-dvmt', auto_cleanup: 'True' };
    qubesd.world.add('disp1', { klass: 'DispVM', tags: ['ai-managed'], state: 'Running', props });
    expect(await found(disposed([create, created('inspect', 'disp1')]))).toMatchObject({ finding: 'not-done' });
    expect(has(qubesd, 'disp1')).toBe(false);
  });
});

describe('a creation of which only the order is journalled', () => {
  test.each(['spawned', 'cloned'] as const)('is not done where nothing has the name (%s)', async (kind) => {
    const { [kind]: unfinished, found } = await setUp();
    expect(await found(unfinished([create]))).toMatchObject({ finding: 'not-done', qubes: [] });
  });

  test.each(['spawned', 'cloned'] as const)('is taken back where a just-born qube has the name (%s)', async (kind) => {
    const { [kind]: unfinished, found, qubesd } = await setUp();
    qubesd.world.add('ai-new', { tags: ['created-by-dom0'], props: { template: 'ai-debian' } });
    expect(await found(unfinished([create]))).toMatchObject({ finding: 'not-done' });
    expect(has(qubesd, 'ai-new')).toBe(false);
  });

  test.each([
    ['of another klass', { klass: 'StandaloneVM', props: {} }],
    ['of another template', { props: { template: 'ai-fedora' } }],
    ['that runs', { state: 'Running', props: ON_DEBIAN }],
    ['that somebody has put under the umbrella', { tags: ['ai-managed'], props: ON_DEBIAN }],
  ])('names a qube of that name %s and lets it be', async (_, spec) => {
    const { spawned, found, qubesd, named } = await setUp();
    qubesd.world.add('ai-new', { tags: [], ...spec });
    const settled = await found(spawned([create]));
    expect(settled).toMatchObject({ finding: 'unknown', qubes: [named('created', 'ai-new')] });
    expect(qubesd.changes()).toEqual([]);
  });

  test('names it and lets it be when the broker answers calls already', async () => {
    const { spawned, found, qubesd } = await setUp();
    qubesd.world.add('ai-new', { tags: [], props: ON_DEBIAN });
    expect(await found(spawned([create]), false)).toMatchObject({ finding: 'unknown' });
    expect(qubesd.changes()).toEqual([]);
  });

  test('names the clone of a source that is gone and lets it be', async () => {
    const { cloned, found, qubesd } = await setUp();
    const unfinished = cloned([create]);
    qubesd.world.remove('ai-source');
    qubesd.world.add('ai-new', { tags: [], props: ON_DEBIAN });
    expect(await found(unfinished)).toMatchObject({ finding: 'unknown' });
    expect(has(qubesd, 'ai-new')).toBe(true);
  });

  const disposable = {
    klass: 'DispVM',
    tags: ['ai-managed'],
    props: { template: 'ai-dvmt', auto_cleanup: 'True' },
  } as const;

  test('puts the one disposable that was not there before out of reach, and does not take it away: it may be anybody’s', async () => {
    const { disposed, found, qubesd, named, quarantine } = await setUp();
    const known = [qubesd.world.add('disp1', disposable).uuid];
    qubesd.world.add('disp2', disposable);
    const settled = await found(disposed([{ ...create, known }]));
    expect(settled).toMatchObject({ finding: 'unknown', qubes: [named('created', 'disp2')] });
    const [other, left] = [qubesd.world.qube('disp1'), qubesd.world.qube('disp2')];
    expect([[...other.tags], [...left.tags], left.props.get('netvm')]).toEqual([['ai-managed'], [], null]);
    expect(quarantine.qubes.map(({ name }) => name)).toEqual(['disp2']);
  });

  test('takes no disposable for its own that runs, stays, or is of another template', async () => {
    const { disposed, found, qubesd } = await setUp();
    qubesd.world.add('disp1', { ...disposable, state: 'Running' });
    qubesd.world.add('disp2', { ...disposable, props: { template: 'ai-dvmt' } });
    qubesd.world.add('disp3', { ...disposable, props: { ...disposable.props, template: 'ai-source' } });
    expect(await found(disposed([{ ...create, known: [] }]))).toMatchObject({ finding: 'not-done', qubes: [] });
    expect(qubesd.changes()).toEqual([]);
  });

  test('does the same with each of several', async () => {
    const { disposed, found, qubesd, named } = await setUp();
    const names = ['disp1', 'disp2'];
    for (const name of names) qubesd.world.add(name, disposable);
    const settled = await found(disposed([{ ...create, known: [] }]));
    expect(settled).toMatchObject({ finding: 'unknown', qubes: names.map((name) => named('created', name)) });
    expect(names.map((name) => [...qubesd.world.qube(name).tags])).toEqual([[], []]);
  });

  test('cannot tell on a machine with too many disposables to have been listed, and leaves them alone', async () => {
    const { disposed, found, qubesd, quarantine } = await setUp();
    qubesd.world.add('disp1', disposable);
    expect(await found(disposed([{ ...create, known: null }]))).toMatchObject({ finding: 'unknown', qubes: [] });
    expect([qubesd.changes(), quarantine.qubes]).toEqual([[], []]);
  });

  test('cannot tell when one that is new cannot be looked at, but looks at the others', async () => {
    const { disposed, found, qubesd, named } = await setUp();
    for (const name of ['disp1', 'disp2']) qubesd.world.add(name, disposable);
    const fault = { exception: ['QubesException', 'x'] } as const;
    qubesd.faults.inject({ method: 'admin.vm.property.GetAll', dest: 'disp1', times: 9, fault });
    const settled = await found(disposed([{ ...create, known: [] }]));
    expect(settled).toMatchObject({ finding: 'unknown', qubes: [named('created', 'disp2')] });
  });

  test('ends, and names it, also where one of them cannot be disarmed', async () => {
    const { disposed, found, qubesd, named } = await setUp();
    for (const name of ['disp1', 'disp2']) qubesd.world.add(name, disposable);
    const fault = { exception: ['QubesException', 'x'] } as const;
    qubesd.faults.inject({ method: 'admin.vm.tag.Remove', dest: 'disp1', times: 9, fault });
    const settled = await found(disposed([{ ...create, known: [] }]));
    const names = ['disp1', 'disp2'];
    expect(settled).toMatchObject({ finding: 'unknown', qubes: names.map((name) => named('created', name)) });
    expect(names.map((name) => [...qubesd.world.qube(name).tags])).toEqual([['ai-managed'], []]);
  });

  test('of which no time is known ends, too', async () => {
    const { disposed, parts } = await setUp();
    const unfinished = [{ ...disposed([{ ...create, known: [] }]), ts: '?' }];
    const [early] = await settle({ ...parts, unfinished }, false, 0);
    expect(settledText(early as Settled)).toContain('Until 2027-');
    expect(await settle({ ...parts, unfinished }, false, 10)).toMatchObject([{ finding: 'not-done' }]);
  });
});

describe('what the state of the qube says about', () => {
  test.each([
    ['start', 'Running', 'done'],
    ['start', 'Halted', 'not-done'],
    ['start', 'Transient', 'unknown'],
    ['shutdown', 'Halted', 'done'],
    ['shutdown', 'Running', 'not-done'],
    ['shutdown', 'Halting', 'unknown'],
    ['kill', 'Halted', 'done'],
    ['kill', 'Running', 'not-done'],
    ['pause', 'Paused', 'done'],
    ['pause', 'Running', 'not-done'],
    ['unpause', 'Running', 'done'],
    ['unpause', 'Paused', 'not-done'],
    ['frobnicate', 'Running', 'unknown'],
  ])('%s when it is %s: %s', async (action, state, finding) => {
    const { qubesd, found, intent, named } = await setUp();
    qubesd.world.qube('ai-source').state = state;
    const qubes = [named('target', 'ai-source')];
    expect(await found(intent(LIFECYCLE, { action, qubes }))).toMatchObject({ finding, qubes });
    expect(qubesd.changes()).toEqual([]);
  });

  test.each([
    [['ai-managed', 'ai-full'], 'not-done'],
    [['qmcp-tombstone_1700000000'], 'done'],
    [['ai-managed', 'qmcp-tombstone_1700000000'], 'half-done'],
    [['ai-full'], 'half-done'],
  ])('a removal when it is tagged %s: %s', async (tags, finding) => {
    const { qubesd, found, intent, named } = await setUp();
    const unfinished = intent(LIFECYCLE, { action: 'remove', qubes: [named('target', 'ai-source')] });
    qubesd.world.qube('ai-source').tags.clear();
    for (const tag of tags) qubesd.world.addTag('ai-source', tag);
    expect(await found(unfinished)).toMatchObject({ finding });
    qubesd.world.remove('ai-source');
    expect(await found(unfinished)).toMatchObject({ finding: 'done' });
  });

  test('the reaper: gone is done, and there is not', async () => {
    const { qubesd, found, intent, named } = await setUp();
    const unfinished = intent('qmcp.TombstoneReaper', { action: 'reap', qubes: [named('target', 'ai-source')] });
    qubesd.world.addTag('ai-source', 'qmcp-tombstone_1700000000');
    expect(await found(unfinished)).toMatchObject({ finding: 'not-done' });
    qubesd.world.remove('ai-source');
    expect(await found(unfinished)).toMatchObject({ finding: 'done' });
  });

  test('anything else: nothing', async () => {
    const { found, intent, named, qubesd } = await setUp();
    const qubes = [named('target', 'ai-source')];
    expect(await found(intent('qmcp.SetFeatureAIManaged', { qubes }))).toMatchObject({ finding: 'unknown', qubes });
    expect(qubesd.calls).toEqual([]);
  });
});

describe('what was kept for the undo says about', () => {
  const TS = Date.parse('2026-01-31T12:00:00.000Z');
  const values = { before: { value: 'blue' }, after: 'red' };
  const property: Change = { kind: 'property', name: 'label', ...values };
  const feature: Change = { kind: 'feature', name: 'ai-x', ...values };
  const firewall: Change = { kind: 'firewall', before: 'action=drop\n', after: 'action=accept\n' };
  const tombstone: Change = { kind: 'tombstone', before: ['ai-managed', 'ai-full'], after: ['qmcp-tombstone_5'] };
  const FIREWALL = { blue: 'action=drop\n', red: 'action=accept\n', green: 'action=drop proto=udp\n' } as const;
  const TAGS = {
    blue: ['ai-full', 'ai-managed'],
    red: ['qmcp-tombstone_5'],
    green: ['qmcp-guarded', 'qmcp-tombstone_5'],
    half: ['ai-managed', 'qmcp-tombstone_5'],
  };

  const kept = (entries: readonly UndoEntry[], remembers = true): Kept => ({
    get: (seq) => entries.find((entry) => entry.seq === seq) ?? null,
    remembers: (at) => remembers && at === TS,
  });
  const setUpKept = async () => {
    const set = await setUp();
    const { qubesd, named } = set;
    const { uuid } = qubesd.world.qube('ai-source');
    const entry = (change: Change, seq = 7): UndoEntry => ({
      ...{ seq, at: TS, service: 'x', source: 'mcp-control', principal: 'default', change },
      qube: { name: 'ai-source' as QubeName, uuid: uuid as Uuid },
    });
    const now = (value: keyof typeof TAGS): void => {
      const { tags, features } = qubesd.world.qube('ai-source');
      qubesd.world.setProperty('ai-source', 'label', value);
      features.set('ai-x', value);
      if (value !== 'half') qubesd.world.qube('ai-source').firewall = FIREWALL[value];
      tags.clear();
      for (const tag of TAGS[value]) tags.add(tag);
    };
    return { ...set, entry, now, qubes: [named('target', 'ai-source')] };
  };

  describe.each([
    ['a property', 'qmcp.SetPropertyAIManaged', property],
    ['a feature', 'qmcp.SetFeatureAIManaged', feature],
    ['a firewall', 'qmcp.SetFirewallAIManaged', firewall],
  ])('%s', (_, service, change) => {
    test.each([
      ['red', 'done'],
      ['blue', 'not-done'],
      ['green', 'unknown'],
    ] as const)('that is %s now: %s', async (value, finding) => {
      const { found, intent, entry, now, qubes, qubesd } = await setUpKept();
      now(value);
      expect(await found(intent(service, { qubes }), true, kept([entry(change)]))).toMatchObject({ finding, qubes });
      expect(qubesd.changes()).toEqual([]);
    });

    test('of which nothing was kept: not done, where an entry would be remembered', async () => {
      const { found, intent, qubes, qubesd } = await setUpKept();
      const unfinished = intent(service, { qubes });
      expect(await found(unfinished, true, kept([]))).toMatchObject({ finding: 'not-done' });
      expect(await found(unfinished, true, kept([], false))).toMatchObject({ finding: 'unknown' });
      expect(qubesd.calls).toEqual([]);
    });

    test('of a qube that is gone: nothing', async () => {
      const { found, intent, entry, qubes, qubesd } = await setUpKept();
      qubesd.world.recreate('ai-source', {});
      expect(await found(intent(service, { qubes }), true, kept([entry(change)]))).toMatchObject({
        finding: 'unknown',
      });
    });
  });

  test.each([
    ['red', property, 'not-done'],
    ['blue', property, 'done'],
    ['green', property, 'unknown'],
    ['red', tombstone, 'not-done'],
    ['blue', tombstone, 'done'],
    ['half', tombstone, 'half-done'],
    ['green', tombstone, 'unknown'],
  ] as const)('an undo, when it is %s now', async (value, change, finding) => {
    const { found, intent, entry, now, qubes, qubesd } = await setUpKept();
    now(value);
    const unfinished = intent('qmcpctl', { action: 'undo', args: { name: 'ai-source', seq: 3 }, qubes });
    expect(await found(unfinished, true, kept([entry(change, 3)]))).toMatchObject({ finding, qubes });
    expect(await found(unfinished, true, kept([]))).toMatchObject({ finding: 'unknown' });
    expect(qubesd.changes()).toEqual([]);
  });

  test.each([
    ['restore-tombstone', 'red', 'not-done'],
    ['restore-tombstone', 'blue', 'done'],
    ['restore-tombstone', 'half', 'half-done'],
    ['reap-tombstone', 'red', 'not-done'],
    ['reap-tombstone', 'gone', 'done'],
    ['restore-tombstone', 'gone', 'unknown'],
    ['set-tier', 'red', 'unknown'],
  ] as const)('the operator’s %s, when it is %s now: %s', async (action, value, finding) => {
    const { found, intent, now, qubes, qubesd } = await setUpKept();
    if (value === 'gone') qubesd.world.remove('ai-source');
    else now(value);
    expect(await found(intent('qmcpctl', { action, qubes }))).toMatchObject({ finding, qubes });
    expect(qubesd.changes()).toEqual([]);
  });
});

describe('what the journal says about a plan of two changes', () => {
  const at = (...steps: string[]): StepTaken[] => steps.map((step) => ({ step, qube: null }));
  test.each([
    [[], 'not-done'],
    [['begun'], 'unknown'],
    [['begun', 'failed'], 'not-done'],
    [['begun', 'done'], 'half-done'],
    [['begun', 'done', 'begun'], 'half-done'],
    [['begun', 'done', 'begun', 'failed'], 'half-done'],
    [['begun', 'done', 'begun', 'done'], 'done'],
  ])('of which %j: %s', async (steps, finding) => {
    const { found, intent, qubesd } = await setUp();
    const args = { steps: 3, changes: 2 };
    expect(await found(intent('qmcp.Commit', { action: 'commit', args, steps: at(...steps) }))).toMatchObject({
      finding,
    });
    expect(qubesd.calls).toEqual([]);
  });
});

describe('what was ordered and is not there', () => {
  const MINUTE = 60_000;
  /** Settled from a moment after the order, with a clock and a timer that the test moves. */
  const settling = async (how: (set: Awaited<ReturnType<typeof setUp>>) => UnfinishedIntent) => {
    const set = await setUp();
    const clock = { ms: NOW + 2 * MINUTE };
    const reports: Settled[] = [];
    let again: (() => void) | null = null;
    await startSettling({
      ...{ ...set.parts, now: () => clock.ms },
      unfinished: [{ ...how(set), ts: new Date(NOW).toISOString() }],
      after: (_, work) => {
        again = work;
      },
      report: (settled) => reports.push(settled),
    });
    const later = async (ms: number): Promise<void> => {
      clock.ms += ms;
      const work = again;
      again = null;
      work?.();
      await vi.waitFor(() => expect(again !== null || reports.at(-1)?.finding !== null).toBe(true));
    };
    const holds = (name: string): boolean => {
      const { uuid, klass } = set.qubesd.world.qube(name);
      return set.quarantine.holds({ name: name as QubeName, uuid: uuid as Uuid, klass });
    };
    return { ...set, reports, later, holds };
  };
  const disposable = { klass: 'DispVM', tags: ['ai-managed'], props: { template: 'ai-dvmt', auto_cleanup: 'True' } };
  const orderedDisposable = ({ disposed }: Awaited<ReturnType<typeof setUp>>) => disposed([{ ...create, known: [] }]);

  const minutes = async (later: (ms: number) => Promise<void>, ...each: number[]): Promise<void> => {
    for (const count of each) await later(count * MINUTE);
  };
  const NINE_LOOKS = [3, 3, 3, 3, 3, 3, 3, 3, 3];

  test('is looked for until half an hour has passed, which the operator is told once, and then was not done', async () => {
    const { reports, later, records, quarantine } = await settling(({ spawned }) =>
      spawned([{ ...create, known: [] }]),
    );
    await quarantine.keep({ name: 'ai-new' as QubeName, uuid: null, at: NOW });
    await minutes(later, ...NINE_LOOKS);
    expect(reports).toMatchObject([{ finding: null, mayComeUntil: NOW + 30 * MINUTE }]);
    expect(settledText(reports[0] as Settled)).toBe(
      'qmcp.SpawnAIManagedQube spawn was begun at 2027-01-15T08:00:00.000Z, and nothing of it is there yet. ' +
        'Until 2027-01-15T08:30:00.000Z the broker keeps looking; there is nothing to do.',
    );
    expect(records).toEqual([]);
    await minutes(later, 2);
    expect(reports.map(({ finding }) => finding)).toEqual([null, 'not-done']);
    expect(records).toMatchObject([{ type: 'finding', finding: 'not-done' }]);
    expect(quarantine.qubes).toEqual([]);
  });

  test('is looked for some minutes longer where the clock says that the time is over: it jumps, and machines sleep', async () => {
    const { reports, later } = await settling(orderedDisposable);
    await minutes(later, 60, ...NINE_LOOKS.slice(1).map(() => 0.5));
    expect(reports.map(({ finding }) => finding)).toEqual([null]);
    await minutes(later, 0.5);
    expect(reports.map(({ finding }) => finding)).toEqual([null, 'not-done']);
  });

  test('is in quarantine when it comes, and left for the operator to see', async () => {
    const { qubesd, reports, later, holds, quarantine, named } = await settling(({ spawned }) =>
      spawned([{ ...create, known: [] }]),
    );
    qubesd.world.add('ai-new', { tags: [], props: ON_DEBIAN });
    // Nothing says yet that it is.
    expect(holds('ai-new')).toBe(true);
    qubesd.reset();
    await minutes(later, 1);
    expect(reports[1]).toMatchObject({ finding: 'unknown', qubes: [named('created', 'ai-new')] });
    expect(quarantine.qubes).toMatchObject([{ name: 'ai-new', uuid: qubesd.world.qube('ai-new').uuid }]);
    expect(qubesd.changes()).toEqual([]);
  });

  test('as a disposable may be any new one, so that one does not end the search for another', async () => {
    const { qubesd, reports, later, holds, quarantine } = await settling(orderedDisposable);
    qubesd.world.add('disp7', disposable);
    await minutes(later, 1);
    expect(settledText(reports[1] as Settled)).toContain(', and may have made disp7, in quarantine now. Until ');
    qubesd.world.add('disp8', disposable);
    expect(holds('disp8')).toBe(true);
    await minutes(later, ...NINE_LOOKS);
    expect(quarantine.qubes.map(({ name }) => name)).toEqual(['disp7', 'disp8']);
    qubesd.reset();
    await minutes(later, 1);
    expect(reports.map(({ finding }) => finding)).toEqual([null, null, null, 'unknown']);
    // They are disarmed by then.
    expect(qubesd.changes()).toEqual([]);
  });

  test('as a disposable stays found when somebody starts it, without the umbrella by then', async () => {
    const { qubesd, reports, later, quarantine } = await settling(orderedDisposable);
    const left = qubesd.world.add('disp7', disposable);
    qubesd.world.add('disp8', { ...disposable, state: 'Running' });
    await minutes(later, 3);
    expect([...left.tags]).toEqual([]);
    left.state = 'Running';
    await minutes(later, ...NINE_LOOKS);
    expect(reports.at(-1)).toMatchObject({ finding: 'unknown', qubes: [{ name: 'disp7' }] });
    expect(quarantine.qubes.map(({ name }) => name)).toEqual(['disp7']);
    expect([...qubesd.world.qube('disp8').tags]).toEqual(['ai-managed']);
  });

  test('is none that another creation made meanwhile', async () => {
    const { qubesd, reports, later, holds, quarantine } = await settling(orderedDisposable);
    qubesd.world.add('disp7', disposable);
    quarantine.order(() => false).whole({ name: 'disp7' as QubeName, uuid: qubesd.world.qube('disp7').uuid as Uuid });
    await later(MINUTE);
    expect(reports).toHaveLength(1);
    expect([holds('disp7'), quarantine.qubes]).toEqual([false, []]);
  });

  test('nor one that another creation made before a restart', async () => {
    const { qubesd, reports, holds } = await settling(({ qubesd, spawned }) => {
      qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
      return spawned([{ ...create, known: [qubesd.world.qube('ai-new').uuid] }]);
    });
    expect(reports).toMatchObject([{ finding: null, mayComeUntil: expect.any(Number) }]);
    expect(holds('ai-new')).toBe(false);
    expect(qubesd.changes()).toEqual([]);
  });

  test('in a life before the last one is not taken away when it is there: it may be the operator’s', async () => {
    const { qubesd, found, spawned } = await setUp();
    qubesd.world.add('ai-new', { tags: [], props: ON_DEBIAN });
    expect(await found({ ...spawned([create]), current: false })).toMatchObject({ finding: 'unknown' });
    expect(qubesd.changes()).toEqual([]);
  });

  test('is looked for after what the last life has left, so that it does not take that for its own', async () => {
    const { qubesd, parts, spawned } = await setUp();
    qubesd.world.add('ai-new', { tags: [], props: ON_DEBIAN });
    const ts = new Date(NOW).toISOString();
    const unfinished = [
      { ...spawned([create]), seq: 3, current: false, ts },
      { ...spawned([create]), seq: 5, ts },
    ];
    const settled = await settle({ ...parts, unfinished }, true);
    expect(settled.map(({ intent, finding }) => [intent.seq, finding])).toEqual([
      [5, 'not-done'],
      [3, null],
    ]);
    expect(has(qubesd, 'ai-new')).toBe(false);
  });
});

describe('what a caller was told that a person has to clean up', () => {
  const left = async (state: 'Halted' | 'Running' = 'Halted') => {
    const set = await setUp();
    const tags = ['ai-managed', 'qmcp-owner_x', 'qmcp-guarded', 'mine'];
    const { uuid } = set.qubesd.world.add('ai-new', { tags, state, props: ON_DEBIAN });
    await set.quarantine.keep({ name: 'ai-new' as QubeName, uuid: uuid as Uuid, at: NOW });
    const intent = set.spawned([create, set.created('stamp', 'ai-new'), set.created('left behind', 'ai-new')]);
    return { ...set, intent, uuid: uuid as Uuid };
  };

  test.each(['Halted', 'Running'] as const)('is disarmed and stays, in quarantine (%s)', async (state) => {
    const { qubesd, found, quarantine, intent, uuid } = await left(state);
    expect(await found(intent)).toMatchObject({ finding: 'half-done' });
    const { tags, props } = qubesd.world.qube('ai-new');
    expect([...tags].sort()).toEqual(['mine', 'qmcp-guarded']);
    expect(props.get('netvm')).toBeNull();
    expect(qubesd.world.qube('ai-new').state).toBe(state);
    expect(quarantine.qubes).toEqual([{ name: 'ai-new', uuid, at: NOW }]);
  });

  test('is the operator’s, and neither changed nor held, once it is released', async () => {
    const { qubesd, found, quarantine, intent, uuid } = await left();
    await quarantine.release({ name: 'ai-new' as QubeName, uuid });
    expect(await found(intent)).toMatchObject({ finding: 'half-done' });
    expect(qubesd.changes()).toEqual([]);
    expect(quarantine.qubes).toEqual([]);
  });

  test('is not said to be there to be mended, once it is released', async () => {
    const { found, quarantine, intent, uuid } = await left();
    await quarantine.release({ name: 'ai-new' as QubeName, uuid });
    expect(settledText(await found(intent))).toMatch(/and left ai-new half-done, which has been released since\.$/);
  });

  test('keeps the network that it was given by whoever runs it since, without being any agent’s', async () => {
    const { qubesd, found, intent } = await left('Running');
    const { tags } = qubesd.world.qube('ai-new');
    for (const tag of tags) if (tag !== 'mine') tags.delete(tag);
    expect(await found(intent)).toMatchObject({ finding: 'half-done' });
    expect(qubesd.changes()).toEqual([]);
  });

  test.each([
    ['refuses to take a tag', { method: 'admin.vm.tag.Remove', fault: { exception: ['QubesException', 'x'] } }],
    ['refuses to take the network', { method: 'admin.vm.property.Set', fault: { exception: ['QubesException', 'x'] } }],
    ['answers nothing', { method: 'admin.vm.List', fault: 'empty' }],
    ['does nothing', { method: 'admin.vm.tag.Remove', fault: 'empty' }],
  ] as const)('stays open, to be disarmed later, when qubesd %s', async (_, fault) => {
    const { qubesd, found, intent } = await left();
    qubesd.faults.inject({ times: Number.POSITIVE_INFINITY, ...fault } as FaultRule);
    expect(await found(intent)).toMatchObject({ finding: null });
    qubesd.faults.clear();
    expect(await found(intent)).toMatchObject({ finding: 'half-done' });
    const { tags, props } = qubesd.world.qube('ai-new');
    expect([[...tags].sort(), props.get('netvm')]).toEqual([['mine', 'qmcp-guarded'], null]);
  });

  test('was not done when it is gone', async () => {
    const { qubesd, found, intent } = await left();
    qubesd.world.remove('ai-new');
    expect(await found(intent)).toMatchObject({ finding: 'not-done' });
  });

  test('stays open while nobody can read whether it is in quarantine', async () => {
    const { qubesd, parts, intent, records } = await left();
    const quarantine = new Quarantine(quarantineFiles('nonsense'));
    const [settled] = await settle({ ...parts, quarantine, unfinished: [intent] }, true);
    expect(settled).toMatchObject({ finding: null, why: 'the quarantine cannot be read' });
    expect([qubesd.changes(), records]).toEqual([[], []]);
  });
});

describe('what cannot be settled', () => {
  test('stays open while qubesd is away, is tried again, and ends then', async () => {
    const { qubesd, admin, parts, records, spawned, created } = await setUp();
    qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
    const unfinished = [spawned([create, created('stamp', 'ai-new')])];
    const away = adminOver(adminCallsTo(`${qubesd.path}.not-there`));
    const reports: (string | null)[] = [];
    const again: (() => void)[] = [];
    const settled = new Promise<void>((resolve) => {
      const report = ({ finding }: Settled): void => {
        reports.push(finding);
        if (finding !== null) resolve();
      };
      const calls = { ...away };
      void startSettling({
        ...parts,
        unfinished,
        admin: calls,
        after: (ms, work) => {
          expect(ms).toBeGreaterThanOrEqual(1_000);
          Object.assign(calls, admin);
          again.push(work);
          setImmediate(work);
        },
        report,
      });
    });
    await settled;
    expect(reports).toEqual([null, 'not-done']);
    expect(again).toHaveLength(1);
    expect(records).toHaveLength(1);
    expect(has(qubesd, 'ai-new')).toBe(false);
  });

  test('stays open while the journal does not take the finding', async () => {
    const { parts, spawned } = await setUp();
    const journal = { append: () => Promise.reject(new JournalUnavailable('the disk is full')) };
    const [settled] = await settle({ ...parts, journal, unfinished: [spawned([])] }, true);
    expect(settled).toMatchObject({ finding: null, why: 'the disk is full' });
  });

  test.each([
    ['refuses', { exception: ['QubesException', 'x'] }],
    ['answers nothing', 'empty'],
  ] as const)('stays open, and out of sight, where qubesd %s', async (_, fault) => {
    const { qubesd, found, spawned, created, quarantine } = await setUp();
    const { uuid } = qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
    const unfinished = spawned([create, created('stamp', 'ai-new')]);
    qubesd.faults.inject({ times: Number.POSITIVE_INFINITY, fault });
    expect(await found(unfinished)).toMatchObject({ finding: null });
    expect(quarantine.has(uuid as Uuid)).toBe(true);
  });

  test('of what was whole is unknown, and named, where qubesd refuses to tell', async () => {
    const { qubesd, found, spawned, created, named } = await setUp();
    qubesd.world.add('ai-new', { props: ON_DEBIAN });
    const unfinished = spawned([create, created('complete', 'ai-new')]);
    qubesd.faults.inject({ times: Number.POSITIVE_INFINITY, fault: { exception: ['QubesException', 'x'] } });
    const settled = await found(unfinished);
    expect(settled).toMatchObject({ finding: 'unknown' });
    expect(settled.qubes).toContainEqual(named('created', 'ai-new'));
  });

  test('of earlier starts is nothing, then nobody is asked', async () => {
    const { qubesd, parts } = await setUp();
    qubesd.reset();
    const never = (): never => expect.unreachable();
    await startSettling({ ...parts, unfinished: [], alone: never, after: never, report: never });
    expect(qubesd.calls).toEqual([]);
  });
});

test('the operator is told to look at what was ordered, where nobody could see it', async () => {
  const { qubesd, found, spawned } = await setUp();
  qubesd.faults.inject({ method: 'admin.vm.List', dest: 'ai-new', fault: { exception: ['QubesException', 'x'] } });
  const settled = await found(spawned([create]));
  expect(settled.finding).toBeNull();
  expect(settledText(settled)).toMatch(/what became of it \(ai-debian, ai-new\); the broker tries again\.$/);
  // Without its order nothing can be there under that name.
  expect(settledText({ intent: spawned([]), finding: 'unknown', qubes: [] })).not.toContain('ai-new');
});

test('the operator is told what became of it, and where to look', async () => {
  const { spawned, named } = await setUp();
  const texts = (['done', 'not-done', 'half-done', 'unknown', null] as const).map((finding) =>
    settledText({ intent: spawned([]), finding, qubes: [named('created', 'ai-source')] }),
  );
  expect(new Set(texts).size).toBe(texts.length);
  for (const text of texts) expect(text).toMatch(/^qmcp\.SpawnAIManagedQube spawn was begun .*\.$/);
  expect(texts[2]).toContain('ai-source');
  expect(texts[3]).toContain('ai-source');
});

describe('what a creation left', () => {
  const rowOf = ({ world }: Qubesd, name: string) => {
    const { uuid, klass } = world.qube(name);
    return { name: name as QubeName, uuid: uuid as Uuid, klass };
  };

  test('and a start cannot take away is in quarantine before the finding closes its intent', async () => {
    const { qubesd, found, spawned, created, quarantine } = await setUp();
    qubesd.world.add('ai-new', { tags: ['ai-managed'], state: 'Running', props: ON_DEBIAN });
    expect(await found(spawned([create, created('pin', 'ai-new')]))).toMatchObject({ finding: 'half-done' });
    expect(quarantine.qubes).toEqual([{ name: 'ai-new', uuid: qubesd.world.qube('ai-new').uuid, at: NOW }]);
  });

  test('and a start takes away, or finds whole, is not', async () => {
    const { qubesd, found, spawned, created, quarantine } = await setUp();
    qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
    const steps = [create, created('stamp', 'ai-new')];
    await found(spawned([...steps, created('complete', 'ai-new')]));
    await found(spawned(steps));
    expect(quarantine.qubes).toEqual([]);
  });

  test('stays open where the quarantine cannot be written', async () => {
    const { qubesd, spawned, created, parts, records } = await setUp();
    qubesd.world.add('ai-new', { tags: ['ai-managed'], state: 'Running', props: ON_DEBIAN });
    const files = quarantineFiles();
    files.fault = new Error('the disk is full');
    const unfinished = [spawned([create, created('pin', 'ai-new')])];
    const [settled] = await settle({ ...parts, quarantine: new Quarantine(files), unfinished }, true);
    expect(settled).toMatchObject({ finding: null, why: 'the quarantine cannot be written' });
    expect(records).toEqual([]);
  });

  test('is every disposable that it can be, where nobody can say which', async () => {
    const { qubesd, found, disposed, quarantine } = await setUp();
    const props = { template: 'ai-dvmt', auto_cleanup: 'True' };
    for (const name of ['disp1', 'disp2']) qubesd.world.add(name, { klass: 'DispVM', tags: ['ai-managed'], props });
    await found(disposed([{ ...create, known: [] }]));
    expect(quarantine.qubes.map(({ name }) => name)).toEqual(['disp1', 'disp2']);
  });

  test.each([
    ['the quarantine', (files: QuarantineFiles) => (files.fault = new Error('the disk is full')), {}],
    [
      'the journal',
      () => {},
      { journal: { append: () => Promise.reject(new JournalUnavailable('the disk is full')) } },
    ],
  ])(
    'and somebody ran is not taken away either once they have shut it down, where %s could not be written',
    async (_, fails, other) => {
      const { qubesd, spawned, created, parts } = await setUp();
      const { uuid } = qubesd.world.add('ai-new', { tags: ['ai-managed'], state: 'Running', props: ON_DEBIAN });
      const files = quarantineFiles();
      const quarantine = new Quarantine(files);
      const unfinished = [spawned([create, created('pin', 'ai-new')])];
      fails(files);
      expect(await settle({ ...parts, quarantine, unfinished, ...other }, true)).toMatchObject([{ finding: null }]);
      qubesd.world.qube('ai-new').state = 'Halted';
      files.fault = null;
      expect(await settle({ ...parts, quarantine, unfinished }, false)).toMatchObject([{ finding: 'half-done' }]);
      expect([has(qubesd, 'ai-new'), quarantine.has(uuid as Uuid)]).toEqual([true, true]);
    },
  );

  test('in a life before the last one is disarmed, and not taken away', async () => {
    const { qubesd, found, spawned, created } = await setUp();
    qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
    const unfinished = { ...spawned([create, created('pin', 'ai-new')]), current: false };
    expect(await found(unfinished)).toMatchObject({ finding: 'half-done' });
    expect([...qubesd.world.qube('ai-new').tags]).toEqual([]);
  });

  test.each([
    ['with its name in the journal', true],
    ['of which only the order is in the journal', false],
  ])('and the operator released before another start is let be (%s)', async (_, isNamed) => {
    const { qubesd, parts, spawned, created } = await setUp();
    const { uuid } = qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
    const { seq: _seq, ts: _ts, steps: _steps, current: _current, ...intent } = spawned([]);
    const open = openIntents();
    const steps = [{ ...create, known: [] }, ...(isNamed ? [created('pin', 'ai-new')] : [])];
    const records = [
      intent,
      ...steps.map((step) => ({ type: 'step', call: 1, ...step })),
      { type: 'start' },
      { type: 'operator', verb: 'release', args: { name: 'ai-new', uuid, by: 'qmcpctl' } },
    ];
    const ts = new Date(NOW).toISOString();
    for (const [index, record] of records.entries()) open.see({ seq: index + 1, ts, ...record } as unknown as Seen);
    await settle({ ...parts, unfinished: open.list() }, true);
    expect([qubesd.changes(), parts.quarantine.qubes]).toEqual([[], []]);
  });

  test('and the operator releases while qubesd is away is let be', async () => {
    const { qubesd, parts, spawned, created, quarantine } = await setUp();
    const { uuid } = qubesd.world.add('ai-new', { tags: ['ai-managed'], props: ON_DEBIAN });
    quarantine.order(() => false);
    await quarantine.release({ name: 'ai-new' as QubeName, uuid: uuid as Uuid });
    const [settled] = await settle({ ...parts, unfinished: [spawned([create, created('pin', 'ai-new')])] }, false);
    expect(settled).toMatchObject({ finding: 'half-done', isReleased: true });
    expect([qubesd.changes(), quarantine.qubes]).toEqual([[], []]);
  });

  test('under a name that was left to this start is not taken away: it may be anybody’s by now', async () => {
    const { qubesd, found, spawned, quarantine } = await setUp();
    qubesd.world.add('ai-new', { props: ON_DEBIAN });
    const steps = [create, { step: 'not in quarantine', qube: null }];
    expect(await found(spawned(steps))).toMatchObject({ finding: 'unknown' });
    expect(has(qubesd, 'ai-new')).toBe(true);
    expect(quarantine.qubes.map(({ name }) => name)).toEqual(['ai-new']);
  });

  test('is changed by no call from the moment the broker starts, until it is settled', async () => {
    const { qubesd, admin, spawned, created, disposed, parts } = await setUp();
    const { quarantine } = parts;
    for (const name of ['ai-new', 'ai-other']) qubesd.world.add(name, { tags: ['ai-managed'], props: ON_DEBIAN });
    qubesd.world.add('disp1', { klass: 'DispVM', tags: ['ai-managed'], props: { template: 'ai-dvmt' } });
    const held = (): string[] =>
      ['ai-new', 'ai-other', 'disp1'].filter((name) => has(qubesd, name) && quarantine.holds(rowOf(qubesd, name)));
    const away = adminOver(adminCallsTo(`${qubesd.path}.not-there`));
    const calls = { ...away };
    let again = (): void => {};
    const ended = new Promise<void>((resolve) => {
      const unfinished = [
        spawned([create, created('stamp', 'ai-new')]),
        { ...disposed([{ ...create, known: [] }]), seq: 8 },
      ];
      let open = 5;
      let isBack = false;
      const report = (): void => {
        open -= 1;
        if (open === 0) resolve();
      };
      const first = startSettling({
        ...parts,
        admin: calls,
        unfinished,
        report,
        after: (_, work) => {
          if (isBack) setImmediate(work);
          else again = work;
        },
      });
      expect(held()).toEqual(['ai-new', 'disp1']);
      void first.then(() => {
        expect(held()).toEqual(['ai-new', 'disp1']);
        isBack = true;
        Object.assign(calls, admin);
        again();
      });
    });
    await ended;
    expect(held()).toEqual([]);
  });
});

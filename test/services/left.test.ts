// What creations leave, while others go on: the journal, the operator, and whoever makes disposables besides (I4, I8).
import { describe, expect, test, vi } from 'vitest';
import type { ControlParts } from '../../daemon/control/parts.ts';
import { setTier } from '../../daemon/control/tier.ts';
import type { JournalRecord } from '../../daemon/journal/record.ts';
import { JournalUnavailable } from '../../daemon/journal/unavailable.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { LEFT_AFTER_MS } from '../../daemon/services/debris.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import type { Fault } from '../qubesd/faults.ts';
import type { Qube } from '../qubesd/world.ts';
import { born, FILES, FLEET } from './creations.ts';

const REFUSED: Fault = { exception: ['QubesException', 'not today'] };
const ALWAYS = Number.POSITIVE_INFINITY;
const DISPOSABLE = 'qmcp.SpawnDisposableAIManaged';
const OF_DVMT = { template: 'ai-dvmt' };
/** As somebody else has it made by qubesd. */
const OTHERS = {
  klass: 'DispVM',
  tags: ['ai-managed'],
  props: { template: 'ai-dvmt', auto_cleanup: 'True', netvm: 'sys-firewall' },
} as const;

const open = (options = {}): Promise<InProcess> => temporaryBroker({ fleet: FLEET, operatorFiles: FILES, ...options });

const holds = ({ quarantine }: InProcess, { name, uuid, klass }: Qube): boolean =>
  quarantine.holds({ name: name as QubeName, uuid: uuid as Uuid, klass });

/** A spawn that can neither be finished nor taken back. */
const left = async (broker: InProcess): Promise<Qube> => {
  for (const method of ['admin.vm.property.Set+netvm', 'admin.vm.Remove'])
    broker.qubesd.faults.inject({ method, times: ALWAYS, fault: REFUSED });
  const { error } = await broker.call('qmcp.SpawnAIManagedQube', { name: 'ai-new', template: 'ai-debian' });
  expect(error).toMatch(/AND rollback failed/);
  broker.qubesd.faults.clear();
  return born(broker.world)[0] as Qube;
};
const isDisarmed = ({ tags, props }: Qube): boolean => !tags.has('ai-managed') && props.get('netvm') === null;

/** While it is on, the journal takes nothing that anybody waits for. */
const outage = ({ journal }: InProcess, step: string) => {
  const append = journal.append.bind(journal);
  Object.assign(journal, {
    append: async (record: JournalRecord) => {
      if (record.type === 'step' && record.step === step) throw new JournalUnavailable('the disk is full');
      return append(record);
    },
  });
};

test('what is left is looked into ten seconds after the reply, and not while the reply is still true', async () => {
  const broker = await open();
  const qube = await left(broker);
  expect(broker.due).toEqual([LEFT_AFTER_MS]);
  expect(LEFT_AFTER_MS).toBe(10_000);
  expect(qube.tags.has('ai-managed')).toBe(true);
  await broker.later();
  expect(isDisarmed(qube)).toBe(true);
});

test.each(['empty', 'lost', REFUSED] as const)(
  'disarming is tried again when qubesd fails in it (%j)',
  async (fault) => {
    const broker = await open();
    const qube = await left(broker);
    for (const method of ['admin.vm.tag.Remove', 'admin.vm.property.Set'])
      broker.qubesd.faults.inject({ method, times: ALWAYS, fault });
    await broker.later();
    broker.qubesd.faults.clear();
    await broker.later();
    expect(isDisarmed(qube)).toBe(true);
    expect(broker.settled.at(-1)).toMatchObject({ finding: 'half-done' });
  },
);

describe('where the journal does not take that something is left', () => {
  test('it is disarmed all the same', async () => {
    const broker = await open();
    outage(broker, 'left behind');
    const qube = await left(broker);
    await broker.later();
    expect(isDisarmed(qube)).toBe(true);
  });

  test('the order does not hold every new disposable for ever', async () => {
    const broker = await open();
    outage(broker, 'left behind');
    const create = broker.qubesd.nextCall('admin.vm.CreateDisposable');
    broker.qubesd.faults.inject({ method: 'admin.vm.CreateDisposable', fault: 'empty' });
    const reply = broker.call(DISPOSABLE, OF_DVMT);
    await create;
    broker.qubesd.faults.inject({ method: 'admin.vm.List', times: 3, fault: 'empty' });
    expect((await reply).ok).toBe(false);
    await broker.later();
    expect(broker.settled).toMatchObject([{ finding: null, mayComeUntil: expect.any(Number) }]);
  });

  test('nor where the journal has lost its intent: then it ends when nothing can come any more', async () => {
    const broker = await open();
    const create = broker.qubesd.nextCall('admin.vm.CreateDisposable');
    broker.qubesd.faults.inject({ method: 'admin.vm.CreateDisposable', fault: 'empty' });
    const reply = broker.call(DISPOSABLE, OF_DVMT);
    await create;
    broker.qubesd.faults.inject({ method: 'admin.vm.List', times: 3, fault: 'empty' });
    await reply;
    Object.assign(broker.journal, { unfinished: () => [] });
    await broker.later();
    const other = broker.world.add('disp-other', OTHERS);
    expect([holds(broker, other), broker.due]).toEqual([true, [30 * 60_000]]);
    await broker.later();
    expect(holds(broker, other)).toBe(false);
  });
});

test('an order that qubesd refuses does not cost somebody else the disposable that they made meanwhile', async () => {
  const broker = await open();
  broker.qubesd.faults.inject({ method: 'admin.vm.CreateDisposable', fault: REFUSED });
  const create = broker.qubesd.nextCall('admin.vm.CreateDisposable');
  const reply = broker.call(DISPOSABLE, OF_DVMT);
  await create;
  broker.world.add('disp-other', OTHERS);
  expect((await reply).ok).toBe(false);
  expect(born(broker.world).map(({ name }) => name)).toEqual(['disp-other']);
  await broker.later();
  expect(broker.quarantine.qubes).toMatchObject([{ name: 'disp-other' }]);
});

test('what is left of a late answer is in the journal for the next start', async () => {
  const broker = await open({ deadlines: { usual: 200, slow: 200, late: 10_000 } });
  const refused = { times: ALWAYS, fault: REFUSED };
  broker.qubesd.faults.inject({ method: 'admin.vm.Create.AppVM', fault: 'hang' });
  const request = { name: 'ai-new', template: 'ai-debian' };
  expect((await broker.call('qmcp.SpawnAIManagedQube', request)).ok).toBe(false);
  broker.qubesd.faults.clear();
  broker.qubesd.faults.inject({ method: 'admin.vm.Remove', ...refused });
  broker.qubesd.release();
  await vi.waitFor(() => expect(broker.due).toEqual([LEFT_AFTER_MS]));
  await broker.journal.recover();
  const steps = broker.journal.unfinished()[0]?.steps ?? [];
  expect(steps.at(-1)).toMatchObject({ step: 'left behind', qube: { name: 'ai-new' } });
});

test('the operator does not wait for the creations of agents to take away what is left', async () => {
  const broker = await open();
  const qube = await left(broker);
  const create = broker.qubesd.nextCall('admin.vm.Create.AppVM');
  broker.qubesd.faults.inject({ method: 'admin.vm.Create.AppVM', fault: 'hang' });
  const creation = broker.call('qmcp.SpawnAIManagedQube', { name: 'ai-other', template: 'ai-debian' });
  await create;
  await broker.later();
  expect(isDisarmed(qube)).toBe(true);
  broker.qubesd.faults.clear();
  broker.qubesd.release();
  await creation;
});

test('what the operator gives it at the same moment stays', async () => {
  const broker = await open();
  const qube = await left(broker);
  const { journal, quarantine, view: fleet, admin, settings } = broker;
  let written = (): void => {};
  const isWritten = new Promise<void>((resolve) => {
    written = resolve;
  });
  let goOn = (): void => {};
  const mayGoOn = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const append = async (record: JournalRecord) => {
    if (record.type === 'operator' && record.verb === 'release') {
      written();
      await mayGoOn;
    }
    return journal.append(record);
  };
  const parts = { journal: { ...journal, append }, quarantine, fleet, admin, settings, monotonicMs: () => 0 };
  const said = setTier({ name: qube.name as QubeName, tier: 'net', force: false }, {
    ...parts,
    broker: broker.broker,
  } as unknown as ControlParts);
  await isWritten;
  const settled = broker.later();
  goOn();
  await settled;
  expect(await said).toMatchObject({ ok: true });
  expect([...qube.tags]).toEqual(expect.arrayContaining(['ai-managed', 'ai-net']));
  expect(broker.quarantine.qubes).toEqual([]);
});

describe('an order of a disposable whose answer is late', () => {
  test('is not over because somebody else makes a disposable of that template, when it never comes', async () => {
    const broker = await open({ deadlines: { usual: 200, slow: 200, late: 50 } });
    broker.qubesd.faults.inject({ method: 'admin.vm.CreateDisposable', fault: 'hang' });
    expect((await broker.call(DISPOSABLE, OF_DVMT)).ok).toBe(false);
    await vi.waitFor(async () => {
      await broker.later();
      expect(broker.settled).toHaveLength(1);
    });
    broker.world.add('disp-other', OTHERS);
    await broker.later();
    broker.qubesd.faults.clear();
    broker.qubesd.release();
    await vi.waitFor(() => expect(born(broker.world)).toHaveLength(2));
    const ours = born(broker.world).find(({ name }) => name !== 'disp-other') as Qube;
    expect(holds(broker, ours)).toBe(true);
    const start = { name: ours.name, action: 'start' };
    expect(await broker.call('qmcp.LifecycleAIManaged', start)).toEqual({ ok: false, error: 'not found' });
  });

  test('is kept from callers by the name in the answer, where nobody can look at it just then', async () => {
    const broker = await open({ deadlines: { usual: 200, slow: 200, late: 10_000 } });
    broker.qubesd.faults.inject({ method: 'admin.vm.CreateDisposable', fault: 'hang' });
    expect((await broker.call(DISPOSABLE, OF_DVMT)).ok).toBe(false);
    broker.qubesd.faults.clear();
    broker.qubesd.faults.inject({ times: ALWAYS, fault: 'empty' });
    broker.qubesd.release();
    await vi.waitFor(() => expect(broker.quarantine.qubes).toMatchObject([{ uuid: null }]));
    broker.qubesd.faults.clear();
    const [ours] = born(broker.world) as [Qube];
    expect(broker.quarantine.qubes).toMatchObject([{ name: ours.name }]);
    expect(JSON.stringify(await broker.call('qmcp.ListAIManagedQubes', {}))).not.toContain(`"${ours.name}"`);
    await broker.later();
    expect(broker.quarantine.has(ours.uuid as Uuid)).toBe(true);
  });

  test('does not cost somebody else the disposable that they made meanwhile', async () => {
    const broker = await open({ deadlines: { usual: 200, slow: 200, late: 10_000 } });
    broker.qubesd.faults.inject({ method: 'admin.vm.CreateDisposable', fault: 'hang' });
    const create = broker.qubesd.nextCall('admin.vm.CreateDisposable');
    const reply = broker.call(DISPOSABLE, OF_DVMT);
    await create;
    broker.world.add('disp-other', OTHERS);
    expect((await reply).ok).toBe(false);
    broker.qubesd.faults.clear();
    const removed = broker.qubesd.nextCall('admin.vm.Remove');
    broker.qubesd.release();
    await removed;
    await vi.waitFor(() => expect(born(broker.world).map(({ name }) => name)).toEqual(['disp-other']));
    await vi.waitFor(() => expect(holds(broker, born(broker.world)[0] as Qube)).toBe(false));
  });
});

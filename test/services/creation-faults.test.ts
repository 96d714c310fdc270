// Every creation, broken at every Admin API call it makes (I8, R4 to R7, R23).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { openIntents, type Seen } from '../../daemon/journal/open-intents.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { DEADLINES } from '../../daemon/qubesadmin/client.ts';
import { settle } from '../../daemon/services/debris.ts';
import { type InProcess, openBroker } from '../broker/in-process.ts';
import type { Fault } from '../qubesd/faults.ts';
import type { Qube } from '../qubesd/world.ts';
import { born, CREATIONS, type Creation, FILES, FLEET, flaws, others } from './creations.ts';

const REFUSED: Fault = { exception: ['QubesException', 'not today'] };
const FAULTS: readonly (readonly [string, Fault])[] = [
  ['refuses', REFUSED],
  ['answers nothing', 'empty'],
  ['does it and answers nothing', 'lost'],
  ['does it and breaks off', { cut: 1 }],
];
const DISPOSABLE = 'qmcp.SpawnDisposableAIManaged';
/** So short that many a call can miss it. */
const SHORT = { usual: 200, slow: 200, late: 10_000 };

const open = (deadlines = DEADLINES): Promise<InProcess> =>
  openBroker({ fleet: FLEET, operatorFiles: FILES, deadlines });

const run = async (broker: InProcess, { service, request }: Creation) => {
  broker.qubesd.reset();
  const reply = await broker.call(service, request);
  return { reply, calls: broker.qubesd.calls.filter(({ method }) => method !== 'admin.Events') };
};

/** Takes back what a creation that succeeded has made. */
const clear = (broker: InProcess): void => {
  for (const { name } of born(broker.world)) broker.world.remove(name);
};

/** How many calls the creation makes when all goes well, and the first of them that changes anything. */
const wellDone = async (broker: InProcess, creation: Creation) => {
  const { reply, calls } = await run(broker, creation);
  expect(reply).toMatchObject({ ok: true });
  expect(born(broker.world)).toHaveLength(1);
  expect(flaws(broker.world, creation)).toEqual([]);
  clear(broker);
  return { count: calls.length, first: calls.findIndex(({ method }) => method.startsWith('admin.vm.Create')) };
};

/** The intents that the next start would find open. */
const openIn = async (broker: InProcess) => {
  const open = openIntents();
  for (const line of await broker.lines()) open.see(line as Seen);
  return open.list();
};

const removedAndLookedFor = async ({ qubesd }: InProcess): Promise<void> => {
  await qubesd.nextCall('admin.vm.Remove');
  await qubesd.nextCall('admin.vm.List');
};

/** Whether no call changes it. */
const holds = ({ quarantine }: InProcess, qube: Qube | undefined): boolean =>
  qube !== undefined && quarantine.holds({ name: qube.name as QubeName, uuid: qube.uuid as Uuid, klass: qube.klass });

const anHourLater = (): number => Date.now() + 3_600_000;

const close = async (broker: InProcess): Promise<void> => {
  await broker.stop();
  expect(broker.unplanned).toEqual([]);
  expect(broker.qubesd.errors).toEqual([]);
};

describe.each(CREATIONS)('$title', (creation) => {
  test.each(FAULTS)('is whole or gone, and the reply says so, when qubesd %s at any one call', async (_, fault) => {
    const broker = await open();
    const before = others(broker.world);
    const { count } = await wellDone(broker, creation);
    for (let skip = 0; skip < count; skip++) {
      broker.qubesd.faults.inject({ skip, fault });
      const { reply } = await run(broker, creation);
      broker.qubesd.faults.clear();
      const what = `fault at call ${skip}: ${JSON.stringify(reply)}`;
      expect(flaws(broker.world, creation), what).toEqual([]);
      expect(born(broker.world), what).toHaveLength(reply.ok ? 1 : 0);
      expect(JSON.stringify(reply), what).not.toMatch(/rollback failed|not today/);
      expect(others(broker.world), what).toEqual(before);
      clear(broker);
    }
    await close(broker);
  });

  test.each([
    ['answers nothing', 'empty', 2],
    ['answers nothing', 'empty', 3],
    ['does it and answers nothing', 'lost', 2],
    ['does it and answers nothing', 'lost', 3],
  ] as const)(
    'owns up to what is left, and to nothing else, when qubesd %s (%s) %i times on end',
    async (_, fault, times) => {
      const broker = await open();
      const { count, first } = await wellDone(broker, creation);
      for (let skip = first; skip < count; skip++) {
        broker.qubesd.faults.inject({ skip, times, fault });
        const { reply } = await run(broker, creation);
        broker.qubesd.faults.clear();
        const what = `${times} faults from call ${skip} on: ${JSON.stringify(reply)}`;
        const left = born(broker.world).map(({ name }) => name);
        if (reply.ok) expect(flaws(broker.world, creation), what).toEqual([]);
        else
          expect(/rollback failed; manual cleanup of qube '(.*)'/.exec(String(reply.error))?.[1], what).toBe(left[0]);
        clear(broker);
      }
      await close(broker);
    },
  );

  test('is whole or gone in the end when qubesd goes on too late with any one call', async () => {
    const broker = await open(SHORT);
    const { count, first } = await wellDone(broker, creation);
    for (let skip = first; skip < count; skip++) {
      broker.qubesd.faults.inject({ skip, fault: 'hang' });
      const { reply } = await run(broker, creation);
      const what = `late at call ${skip}: ${JSON.stringify(reply)}`;
      expect(flaws(broker.world, creation), what).toEqual([]);
      broker.qubesd.faults.clear();
      const undone = skip === first ? removedAndLookedFor(broker) : null;
      broker.qubesd.release();
      await undone;
      await vi.waitFor(() => expect(born(broker.world), what).toHaveLength(reply.ok ? 1 : 0));
      expect(flaws(broker.world, creation), what).toEqual([]);
      clear(broker);
    }
    await close(broker);
  });

  test('is the next start’s to look into when it comes late, stays, and cannot be written down', async () => {
    const broker = await open(SHORT);
    const { first } = await wellDone(broker, creation);
    mkdirSync(join(broker.root, 'state', '.quarantine.new'));
    broker.qubesd.faults.inject({ skip: first, fault: 'hang' });
    expect((await run(broker, creation)).reply.ok).toBe(false);
    broker.qubesd.faults.clear();
    broker.qubesd.faults.inject({ method: 'admin.vm.Remove', times: Number.POSITIVE_INFINITY, fault: REFUSED });
    const undone = removedAndLookedFor(broker);
    broker.qubesd.release();
    await undone;
    const [left] = born(broker.world);
    await vi.waitFor(async () =>
      expect(await broker.lines()).toContainEqual(
        expect.objectContaining({ step: 'left behind', qube: expect.objectContaining({ name: left?.name }) }),
      ),
    );
    await broker.journal.append({ type: 'operator', verb: 'later', args: {} });
    expect(await openIn(broker)).toHaveLength(1);
    broker.qubesd.faults.clear();
    clear(broker);
    await close(broker);
  });

  test('that cannot be taken back is disarmed after the reply, and then its intent is closed', async () => {
    const broker = await open();
    for (const method of ['admin.vm.property.Set+netvm', 'admin.vm.Remove']) {
      broker.qubesd.faults.inject({ method, times: Number.POSITIVE_INFINITY, fault: REFUSED });
    }
    const { reply } = await run(broker, creation);
    expect(reply.error).toMatch(/AND rollback failed; manual cleanup/);
    const [left] = born(broker.world);
    expect(left?.tags.has('ai-managed') || left?.props.get('netvm') !== null).toBe(true);
    broker.qubesd.faults.clear();
    await broker.later();
    expect(left?.tags.has('ai-managed')).toBe(false);
    expect(left?.props.get('netvm')).toBeNull();
    expect(broker.settled).toMatchObject([{ finding: 'half-done', qubes: [{ name: left?.name }] }]);
    expect(broker.quarantine.qubes.map(({ name }) => name)).toEqual([left?.name]);
    expect(await openIn(broker)).toEqual([]);
    await close(broker);
  });

  test('whose answer is lost together with qubesd is in quarantine once that is back, and holds nothing else', async () => {
    const broker = await open();
    const { first } = await wellDone(broker, creation);
    broker.qubesd.faults.inject({ skip: first, fault: { cut: 1 } });
    broker.qubesd.faults.inject({ skip: first, times: Number.POSITIVE_INFINITY, fault: 'empty' });
    expect((await run(broker, creation)).reply.ok).toBe(false);
    const [left] = born(broker.world);
    expect(holds(broker, left)).toBe(true);
    broker.qubesd.faults.clear();
    await broker.later();
    // Of a disposable it is never certain, while another may come.
    const isCertain = creation.service !== DISPOSABLE;
    expect(broker.settled).toMatchObject([{ finding: isCertain ? 'unknown' : null, qubes: [{ name: left?.name }] }]);
    expect(broker.quarantine.has(left?.uuid as Uuid)).toBe(true);
    expect(await openIn(broker)).toHaveLength(isCertain ? 0 : 1);
    expect(holds(broker, broker.world.add('ai-other', { klass: 'DispVM' }))).toBe(!isCertain);
    await close(broker);
  });

  test('that qubesd has named, and then cannot be asked about, is kept from callers by its name at once', async () => {
    const broker = await open();
    const { first } = await wellDone(broker, creation);
    broker.qubesd.faults.inject({ skip: first + 1, times: Number.POSITIVE_INFINITY, fault: 'empty' });
    expect((await run(broker, creation)).reply.ok).toBe(false);
    const name = born(broker.world)[0]?.name;
    expect(broker.quarantine.qubes).toMatchObject([{ name, uuid: null }]);
    broker.qubesd.faults.clear();
    expect(JSON.stringify(await broker.call('qmcp.ListAIManagedQubes', {}))).not.toContain(`"${name}"`);
    await broker.later();
    expect(broker.quarantine.qubes).toMatchObject([{ name, uuid: born(broker.world)[0]?.uuid }]);
    await close(broker);
  });

  test('whose answer never comes is looked for', async () => {
    const broker = await open({ ...SHORT, late: 50 });
    const { first } = await wellDone(broker, creation);
    broker.qubesd.faults.inject({ skip: first, fault: 'hang' });
    expect((await run(broker, creation)).reply.ok).toBe(false);
    await vi.waitFor(async () => {
      await broker.later();
      expect(broker.settled).toMatchObject([{ finding: null, mayComeUntil: expect.any(Number) }]);
    });
    broker.qubesd.faults.clear();
    broker.qubesd.release();
    await vi.waitFor(() => expect(born(broker.world)).toHaveLength(1));
    expect(holds(broker, born(broker.world)[0])).toBe(true);
    await broker.later();
    expect(broker.settled[1]).toMatchObject({ finding: creation.service === DISPOSABLE ? null : 'unknown' });
    expect(broker.quarantine.has(born(broker.world)[0]?.uuid as Uuid)).toBe(true);
    await close(broker);
  });

  test('leaves nothing that neither reply nor next start owns up to when qubesd is away from any one call on', async () => {
    const broker = await open();
    const { count, first } = await wellDone(broker, creation);
    for (let skip = first; skip < count; skip++) {
      broker.qubesd.faults.inject({ skip, times: Number.POSITIVE_INFINITY, fault: 'empty' });
      const { reply } = await run(broker, creation);
      broker.qubesd.faults.clear();
      const what = `away from call ${skip} on: ${JSON.stringify(reply)}`;
      expect(JSON.stringify(reply), what).not.toContain('(rolled back)');
      if (reply.ok) {
        // Only what the qube is whole without was still to come.
        expect(flaws(broker.world, creation), what).toEqual([]);
        clear(broker);
        continue;
      }
      for (const { name } of born(broker.world)) {
        const owned = `AND rollback failed; manual cleanup of qube '${name}' required in dom0`;
        if (String(reply.error).endsWith(owned)) {
          expect(JSON.stringify(await broker.lines()), what).toContain(`"${name}"`);
          broker.world.remove(name);
        }
      }
      const { housekeeping: alone, betweenCreations } = broker.broker;
      const parts = { ...broker, alone, betweenCreations, now: anHourLater };
      await settle({ ...parts, unfinished: await openIn(broker) }, true);
      expect(await openIn(broker), what).toEqual([]);
      for (const { name, uuid } of born(broker.world)) {
        expect(broker.quarantine.has(uuid as Uuid), what).toBe(true);
        broker.world.remove(name);
      }
    }
    await close(broker);
  });
});

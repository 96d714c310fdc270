// Every creation, broken at every Admin API call it makes (I8, R4 to R7, R23).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { openIntents, type Seen } from '../../daemon/journal/open-intents.ts';
import { DEADLINES } from '../../daemon/qubesadmin/client.ts';
import { settle } from '../../daemon/services/debris.ts';
import { type InProcess, openBroker } from '../broker/in-process.ts';
import type { Fault } from '../qubesd/faults.ts';
import { born, CREATIONS, type Creation, FILES, FLEET, flaws, others } from './creations.ts';

const FAULTS: readonly (readonly [string, Fault])[] = [
  ['refuses', { exception: ['QubesException', 'not today'] }],
  ['answers nothing', 'empty'],
  ['does it and answers nothing', 'lost'],
  ['does it and breaks off', { cut: 1 }],
];
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
    const refused: Fault = { exception: ['QubesException', 'not today'] };
    broker.qubesd.faults.inject({ method: 'admin.vm.Remove', times: Number.POSITIVE_INFINITY, fault: refused });
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
      await settle({ ...broker, now: Date.now, unfinished: await openIn(broker) }, true);
      expect(await openIn(broker), what).toEqual([]);
      expect(born(broker.world), what).toEqual([]);
    }
    await close(broker);
  });
});

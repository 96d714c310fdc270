// Every creation by the built daemon, killed at every Admin API call that changes something (I4, I8, R23).
import { describe, expect, test } from 'vitest';
import { type Daemon, startDaemon } from '../broker/daemon.ts';
import { isStateChanging } from '../qubesd/methods.ts';
import type { Qubesd } from '../qubesd/server.ts';
import { born, CREATIONS, type Creation, FILES, FLEET, flaws, others } from './creations.ts';

const open = () => startDaemon({ fleet: FLEET, operatorFiles: { ...FILES } });

const clear = ({ world }: Qubesd): void => {
  for (const { name } of born(world)) world.remove(name);
};

/** The calls of the creation that change something, when all goes well; takes back what it made. */
const changesOf = async (daemon: Daemon, qubesd: Qubesd, { service, request }: Creation): Promise<number> => {
  qubesd.reset();
  expect(await daemon.call(service, request)).toMatchObject({ ok: true });
  clear(qubesd);
  return qubesd.changes().length;
};

/** Kills the daemon when the call arrives that is its change number `at`, from 0; the change is made or not. */
const killAt = (at: number, isDone: boolean, daemon: Daemon, qubesd: Qubesd): void => {
  let seen = 0;
  qubesd.onCall = async ({ method }) => {
    if (!isStateChanging(method) || seen++ !== at) return;
    if (!isDone) qubesd.faults.inject({ fault: 'empty' });
    await daemon.end('SIGKILL');
  };
};

const findings = (daemon: Daemon) => daemon.journal().filter(({ type }) => type === 'finding');

describe.each(CREATIONS)('$title', (creation) => {
  const { service, request } = creation;

  test.each([
    ['before', false],
    ['after', true],
  ])('leaves nothing when the daemon is killed just %s any change and started again', async (_, isDone) => {
    const { daemon, qubesd } = await open();
    const before = others(qubesd.world);
    const count = await changesOf(daemon, qubesd, creation);
    for (let at = 0; at < count; at++) {
      killAt(at, isDone, daemon, qubesd);
      await expect(daemon.call(service, request)).rejects.toThrow();
      qubesd.onCall = undefined;
      await daemon.start();
      const what = `killed at change ${at}`;
      expect(born(qubesd.world), what).toEqual([]);
      expect(others(qubesd.world), what).toEqual(before);
      expect(findings(daemon), what).toHaveLength(at + 1);
      expect(findings(daemon).at(-1), what).toMatchObject({ service, finding: 'not-done' });
    }
    expect(await daemon.call(service, request)).toMatchObject({ ok: true });
    expect(flaws(qubesd.world, creation)).toEqual([]);
  });
});

// Reads, lists, connections and memory: the broker beside an echo server and beside qubesd itself, with the same flags.
import { setTimeout as sleep } from 'node:timers/promises';
import { frame } from '../broker/caller.ts';
import { drive } from './drive.ts';
import { fleetOf, Place, residentMiB } from './place.ts';
import { median, ms, perSecond, quantile, type Row, ratio } from './row.ts';

const SECONDS = 1.5;
const FLEETS = [10, 100, 1000];
const IDLE_MB = 60;

const get = Buffer.from(frame('qmcp.GetPropertyAIManaged', { name: 'ai-0001', property: 'label' }));
const list = Buffer.from(frame('qmcp.ListAIManagedQubes', ''));
const sameReadOfQubesd = Buffer.from('admin.vm.property.Get+label dom0 name ai-0001\0');

/** Rows for one set of Node flags, named in every row. */
export const callRows = async (flags: readonly string[], progress: (text: string) => void): Promise<Row[]> => {
  const rows: Row[] = [];
  const mode = flags.length > 0 ? flags.join(' ') : 'default flags';
  for (const managed of FLEETS) {
    progress(`${mode}: ${managed} qubes`);
    const place = new Place();
    try {
      await place.startQubesd(fleetOf(managed));
      const pid = await place.startDaemon(flags);
      if (managed === FLEETS[0]) rows.push(await idle(pid, mode), ...(await connections(place, flags, mode)));
      await drive(place.door, list, '{"ok":true', 1, 0.3);
      const { latencies } = await drive(place.door, list, '{"ok":true', 1, SECONDS);
      const typical = median(latencies);
      rows.push({
        what: `List over ${managed} qubes, ${mode}`,
        measured: `${ms(typical)}, p99 ${ms(quantile(latencies, 0.99))}`,
        ...(managed === 1000 && { target: 'under 10 ms', met: typical < 10 }),
      });
    } finally {
      await place.end();
    }
  }
  return rows;
};

const idle = async (pid: number, mode: string): Promise<Row> => {
  await sleep(1000);
  const resident = residentMiB(pid);
  return {
    what: `idle daemon, ${mode}`,
    measured: `${resident.toFixed(0)} MiB resident`,
    target: `under ${IDLE_MB} MB`,
    met: resident * 1.048576 < IDLE_MB,
  };
};

const connections = async (place: Place, flags: readonly string[], mode: string): Promise<Row[]> => {
  const rows: Row[] = [];
  await place.startEcho(flags);
  await drive(place.door, get, '{"ok":true', 8, 0.5);
  await drive(place.echo, get, 'qmcp', 8, 0.5);
  for (const concurrency of [1, 8, 64]) {
    const echo = await drive(place.echo, get, 'qmcp', concurrency, SECONDS);
    const broker = await drive(place.door, get, '{"ok":true', concurrency, SECONDS);
    const share = broker.perSecond / echo.perSecond;
    rows.push({
      what: `GetProperty with ${concurrency} caller${concurrency > 1 ? 's' : ''}, against echo, ${mode}`,
      measured: `${perSecond(broker.perSecond)}, p50 ${ms(median(broker.latencies))}; ${ratio(share)} of echo`,
      target: 'at least 0.5x',
      met: share >= 0.5,
    });
  }
  const qubesd = await drive(place.qubesd, sameReadOfQubesd, '0\0', 1, SECONDS);
  const broker = await drive(place.door, get, '{"ok":true', 1, SECONDS);
  const share = median(broker.latencies) / median(qubesd.latencies);
  rows.push({
    what: `GetProperty from the view, against qubesd's own answer, ${mode}`,
    measured: `${ms(median(broker.latencies))} against ${ms(median(qubesd.latencies))}: ${ratio(share)}`,
    target: 'below 1x of the real qubesd (0.26 ms); the simulated one is itself a quick Node server',
  });
  return rows;
};

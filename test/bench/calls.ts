// Reads, lists, connections and memory: the broker beside an echo server and beside qubesd itself, with the same flags.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { frame } from '../broker/caller.ts';
import { drive } from './drive.ts';
import { at, fleetOf, Place, residentMiB } from './place.ts';
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
      await place.startDaemon(flags);
      if (managed === FLEETS[0]) rows.push(...(await connections(place, flags, mode)));
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

/** What a daemon that nobody has called yet takes, with the flags and the environment of its unit, and told systemd that it is ready. */
export const idleRows = async (): Promise<Row[]> => {
  const unit = readFileSync(at('packaging/systemd/qmcp-brokerd.service'), 'utf8');
  const flags = /^ExecStart=\/usr\/bin\/node (.*) \S+$/m.exec(unit)?.[1]?.split(' ');
  const [, name, value] = /^Environment=(\w+)=(\S+)$/m.exec(unit) ?? [];
  if (!flags || !name) throw new Error('the unit has another shape');
  const place = new Place();
  try {
    await place.startQubesd(fleetOf(FLEETS[0] as number));
    const pid = await place.startDaemon(flags, { [name]: value, NOTIFY_SOCKET: join(place.root, 'notify') });
    await sleep(2000);
    const mb = residentMiB(pid) * 1.048576;
    return [
      {
        what: 'idle daemon, as its unit starts it',
        measured: `${mb.toFixed(1)} MB resident`,
        target: `under ${IDLE_MB} MB`,
        met: mb < IDLE_MB,
      },
    ];
  } finally {
    await place.end();
  }
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

// Preparing a plan of the largest size, at the socket.
import { createConnection } from 'node:net';
import { frame } from '../broker/caller.ts';
import { fleetOf, Place } from './place.ts';
import { median, ms, type Row } from './row.ts';

const TIMES = 30;
const TARGET_MS = 20;

const calls = Array.from({ length: 32 }, (_, index) => ({
  service: 'qmcp.SetPropertyAIManaged',
  request: { name: `ai-${String(index).padStart(4, '0')}`, property: 'label', value: 'blue' },
}));

const exchange = (path: string, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let reply = '';
    const socket = createConnection({ path, allowHalfOpen: true }, () => socket.end(text));
    socket.on('data', (chunk) => {
      reply += chunk;
    });
    socket.on('end', () => resolve(reply));
    socket.on('error', reject);
  });

/** Prepare of 32 changing steps on a fleet of 100, and Cancel after each, unmeasured. */
export const planRows = async (flags: readonly string[]): Promise<Row[]> => {
  const place = new Place();
  try {
    await place.startQubesd(fleetOf(100));
    await place.startDaemon(flags);
    const times: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      const began = performance.now();
      const { ok, nonce } = JSON.parse(await exchange(place.door, frame('qmcp.Prepare', { calls })));
      times.push(performance.now() - began);
      if (!ok) throw new Error('a plan of 32 steps was refused');
      await exchange(place.door, frame('qmcp.Cancel', {}, { argument: nonce }));
    }
    const typical = median(times);
    const mode = flags.length > 0 ? flags.join(' ') : 'default flags';
    return [
      {
        what: `Prepare of 32 steps over 100 qubes, ${mode}`,
        measured: ms(typical),
        target: `under ${TARGET_MS} ms`,
        met: typical < TARGET_MS,
      },
    ];
  } finally {
    await place.end();
  }
};

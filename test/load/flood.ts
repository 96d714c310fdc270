// One source floods, another works: what the other notices of it.
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { quantile } from '../bench/row.ts';
import { frame } from '../broker/caller.ts';
import { nameOf, WORKER } from './floods.ts';
import { type Footprint, watchFootprint } from './proc.ts';
import { crowd, type Replies, type Tally } from './worker.ts';

const WORKERS = 2;
let turn = 0;
/** What the other source does: it reads, and now and then changes something. */
const work = (): { bytes: string } => {
  turn += 1;
  const name = nameOf(turn);
  return {
    bytes:
      turn % 10 === 0
        ? frame('qmcp.SetPropertyAIManaged', { name, property: 'label', value: 'gray' }, { source: WORKER })
        : frame('qmcp.GetPropertyAIManaged', { name, property: 'label' }, { source: WORKER }),
  };
};

export interface Flooded {
  readonly calm: Tally;
  readonly flooded: Tally;
  readonly flood: Replies;
  readonly most: Footprint;
}

/** The other's calls, first in peace and then in the flood; `span` begins a stretch and tells whether it goes on. */
export const flooded = async (
  path: string,
  pid: number,
  index: number,
  span: () => () => boolean,
): Promise<Flooded> => {
  const calm = await crowd(path, WORKERS, span(), work);
  const most = watchFootprint(pid);
  const stop = await startFlood(path, index);
  const other = await crowd(path, WORKERS, span(), work);
  return { calm, flooded: other, flood: await stop(), most: most() };
};

const FLOODER = fileURLToPath(new URL('flooder.ts', import.meta.url));
/** Until the flood has risen. */
const RISE_MS = 500;

/** In a process of its own, so that who measures does not also pour. */
const startFlood = async (path: string, index: number): Promise<() => Promise<Replies>> => {
  const child = spawn(process.execPath, [FLOODER, path, String(index)], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  const gone = new Promise((resolve) => child.once('close', resolve));
  while (!said.includes('\n')) await sleep(20);
  await sleep(RISE_MS);
  return async () => {
    child.stdin.end();
    await gone;
    return new Map(JSON.parse(said.split('\n')[1] ?? '[]') as [string, number][]);
  };
};

/** Of the latencies with and without the flood, at the median and at the 99th percentile. */
export const slowdown = ({ calm, flooded: other }: Flooded): { median: number; p99: number } => ({
  median: quantile(other.latencies, 0.5) / quantile(calm.latencies, 0.5),
  p99: quantile(other.latencies, 0.99) / quantile(calm.latencies, 0.99),
});

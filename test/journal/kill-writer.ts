// A process that appends to a journal as fast as it can, and says on standard output what was acknowledged.
import { writeSync } from 'node:fs';
import { openJournal } from '../../daemon/journal/journal.ts';

const [dir, state] = process.argv.slice(2) as [string, string];
const rotation = { bytes: 20_000, ageMs: Number.POSITIVE_INFINITY, keep: 1000 };
const clocks = { now: Date.now, monotonicMs: () => performance.now() };
const { journal, findings } = await openJournal({ dir, state, bootId: 'b', rotation, ...clocks });
writeSync(1, `open ${JSON.stringify(findings)}\n`);

async function writer(name: number): Promise<never> {
  for (let i = 0; ; i += 1) {
    const { seq } = await journal.append({ type: 'stop', reason: `${process.pid}-${name}-${i}` });
    writeSync(1, `${seq} ${process.pid}-${name}-${i}\n`);
  }
}
await Promise.all([1, 2, 3, 4].map(writer));

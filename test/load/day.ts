// Mixed traffic, as many calls as wanted: every reply as expected, and nothing left behind.
import { journalIn } from '../../daemon/journal/sources.ts';
import { type Report, verifyJournal } from '../../daemon/journal/verify.ts';
import type { Random } from '../fuzz/random.ts';
import { type Footprint, footprint, wakeUps } from './proc.ts';
import { anyKind } from './traffic.ts';
import { called, newTally } from './worker.ts';

const REST_MS = 3_000;

export interface Sample extends Footprint {
  readonly calls: number;
}

export interface Traffic {
  readonly calls: number;
  /** Side by side. */
  readonly callers: number;
  readonly random: Random;
  /** How often the daemon is looked at on the way, and who is told. */
  readonly looks?: number;
  readonly looked?: (sample: Sample) => void;
}

export interface Mixed {
  readonly unexpected: readonly string[];
  readonly byKind: ReadonlyMap<string, number>;
  readonly latencies: readonly number[];
}

/** Makes the calls, and holds every reply against what was to come. */
export const mixed = async (
  path: string,
  pid: number,
  { calls, callers, random, looks = 1, looked }: Traffic,
): Promise<Mixed> => {
  const unexpected: string[] = [];
  const byKind = new Map<string, number>();
  const tally = newTally();
  let begun = 0;
  let done = 0;
  const look = (): void => looked?.({ calls: done, ...footprint(pid) });
  look();
  const caller = async (): Promise<void> => {
    while (begun < calls) {
      begun += 1;
      const { what, expected, bytes } = anyKind(random);
      const reply = await called(path, bytes(random), tally);
      const kind = reply.startsWith('{"ok":true') ? 'ok' : reply.startsWith('{"ok":false') ? 'refused' : 'none';
      if (kind !== expected) unexpected.push(`${what}: ${reply.slice(0, 100)}`);
      byKind.set(what, (byKind.get(what) ?? 0) + 1);
      done += 1;
      if (done % Math.ceil(calls / looks) === 0) look();
      // Of a million calls the latencies of the last ones will do.
      if (tally.latencies.length > 200_000) tally.latencies.splice(0, 100_000);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { unexpected, byKind, latencies: tally.latencies };
};

/** What the journal in the directory is worth. */
export const verified = async (log: string): Promise<Report> => {
  const sources = await journalIn(log);
  try {
    return await verifyJournal(sources, { keys: [], anchor: null, knownBreaks: new Set(), whole: true });
  } finally {
    for (const source of sources) await source.close();
  }
};

/** What is left when nothing happens any more. */
export const atRest = async (pid: number): Promise<Footprint & { readonly wakeUps: number }> => {
  await wakeUps(pid, REST_MS);
  const woken = await wakeUps(pid, REST_MS);
  return { ...footprint(pid), wakeUps: woken };
};

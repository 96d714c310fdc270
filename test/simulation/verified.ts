// The journal on the simulated disk, held against the verification that the operator has.
import { verifyJournal } from '../../daemon/journal/verify.ts';
import type { Disk } from './disk.ts';

/** What is wrong with it: it is whole, in one chain, and without a break. null where nothing is. */
export const faultOf = async (disk: Disk): Promise<string | null> => {
  const names = disk
    .names('/log')
    .filter((name) => /^audit-\d+-\d+\.jsonl$/.test(name))
    .sort();
  const paths = [...names, ...(disk.names('/log').includes('audit.jsonl') ? ['audit.jsonl'] : [])].map(
    (name) => `/log/${name}`,
  );
  const sources = paths.map((path) => ({
    ...{ path, old: null, close: async () => {} },
    chunks: async function* () {
      // Behind the last newline is what is just being written.
      const bytes = disk.bytes(path);
      yield bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
    },
  }));
  const report = await verifyJournal(sources, { keys: [], anchor: null, knownBreaks: new Set(), whole: true });
  return report.ok ? null : JSON.stringify(report.fault ?? report.breaks);
};

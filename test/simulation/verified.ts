// The journal on a simulated disk, held against the verification that the operator has, with what that trusts: the public key
// in the state directory, and the newest checkpoint there or beside the journal (`daemon/operator/journal-place.ts`).
import { readPublicKey } from '../../daemon/journal/checkpoint.ts';
import { oldFiles } from '../../daemon/journal/rotation.ts';
import { anchorIn, CHECKPOINT_FILE, PUBLIC_KEY_FILE } from '../../daemon/journal/seal.ts';
import { CURRENT, type Source } from '../../daemon/journal/sources.ts';
import { verifyJournal } from '../../daemon/journal/verify.ts';
import type { Disk } from './disk.ts';

/** What is wrong with it: it is whole, in one chain, without a break, and reaches to its newest checkpoint. null where nothing is. */
export const faultOf = async (disk: Disk): Promise<string | null> => {
  const publicKey = disk.has(`/state/${PUBLIC_KEY_FILE}`) ? disk.text(`/state/${PUBLIC_KEY_FILE}`) : '';
  const key = readPublicKey(publicKey);
  const anchors = ['/state', '/log'].flatMap((dir) => {
    const path = `${dir}/${CHECKPOINT_FILE}`;
    const anchor = anchorIn(disk.has(path) ? disk.text(path) : null, publicKey);
    return anchor.kind === 'head' ? [anchor.head] : [];
  });
  const anchor = anchors.toSorted((a, b) => b.seq - a.seq)[0] ?? null;
  const report = await verifyJournal(sourcesOn(disk), {
    ...{ keys: key ? [key] : [], anchor, knownBreaks: new Set<number>(), whole: true },
  });
  return report.ok ? null : JSON.stringify(report.fault ?? report.breaks);
};

const sourcesOn = (disk: Disk): Source[] => {
  const source = (name: string, old: Source['old']): Source => ({
    ...{ path: `/log/${name}`, old, close: async () => {} },
    chunks: async function* () {
      // Behind the last newline is what is just being written.
      const bytes = disk.bytes(`/log/${name}`);
      yield bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
    },
  });
  // In the middle of a rotation the growing file has its next name already.
  const closed = oldFiles(disk.names('/log')).filter(({ name }) => !disk.isSame(`/log/${name}`, `/log/${CURRENT}`));
  const old = closed.map((file) => source(file.name, file));
  return disk.has(`/log/${CURRENT}`) ? [...old, source(CURRENT, null)] : old;
};

// What is broken on purpose of the things that outlive a broker: what it writes down, when, and what it reads of it.
import { CHECKPOINT_AFTER_MS } from '../../daemon/journal/journal.ts';
import { CHECKPOINT_FILE, openSeal } from '../../daemon/journal/seal.ts';
import { Quarantine } from '../../daemon/services/quarantine.ts';
import type { World } from '../qubesd/world.ts';
import type { Break } from './break.ts';
import type { Ground } from './life.ts';

export const BREAKS_OF_DISK: readonly Break[] = [
  {
    title: 'effects begin before their intent is synced',
    invariant: /^(?:I[134]:|the key|the checkpoint) .*on disk/,
    of: (ground) => ({
      ...ground,
      files: {
        ...ground.files,
        openAppend: async (path, mode) => ({
          ...(await ground.files.openAppend(path, mode)),
          datasync: async () => {},
        }),
      },
    }),
  },
  {
    title: 'a quarantine that a restart forgets',
    invariant: /^I(?:8: .*never made whole|6: in quarantine)/,
    of: (ground) => ({
      ...ground,
      quarantine: (files) => new Quarantine({ ...files, read: () => null }),
    }),
  },
  {
    title: 'what signed calls used is forgotten at a restart',
    invariant: /^(?:I1: .*(?:must not count|not what was asked for|nobody asked for)|quota: .* was granted)/,
    of: (ground) => ({ ...ground, ledger: { ...ground.ledger, read: () => null } }),
  },
  {
    title: 'quotas are forgotten at a restart',
    invariant: /^quota: .* was granted/,
    of: (ground) => withQuotas(ground, () => []),
  },
  {
    title: 'what was used of quotas counts tenfold after a restart',
    invariant: /^quota: .* is refused/,
    of: (ground) => withQuotas(ground, (used) => used.map(([minute, count]) => [minute, count * 10])),
  },
  {
    title: 'a checkpoint is kept before its record is synced',
    invariant: /^the checkpoint of record \d+ is ahead/,
    of: (ground) => ({
      ...ground,
      files: {
        ...ground.files,
        openAppend: async (path, mode) => {
          const file = await ground.files.openAppend(path, mode);
          const write = async (bytes: Uint8Array): Promise<number> => {
            await keepEarly(ground, Buffer.from(bytes).toString());
            return file.write(bytes);
          };
          return path.startsWith('/log/audit.') ? { ...file, write } : file;
        },
      },
    }),
  },
  {
    title: 'the newest checkpoint is read once and believed for ever',
    invariant: /^tampering: /,
    of: (ground, { world }) => ({
      ...ground,
      files: {
        ...ground.files,
        read: async (path) => {
          const text = await ground.files.read(path);
          if (!path.endsWith(CHECKPOINT_FILE) || text === null) return text;
          const first = firstRead.get(world) ?? text;
          firstRead.set(world, first);
          return first;
        },
      },
    }),
  },
  {
    title: 'names in the state directory are not synced',
    invariant: /^the (?:key of the journal|checkpoint of record)/,
    of: (ground) => ({
      ...ground,
      files: {
        ...ground.files,
        syncDirectory: async (path) => (path === '/state' ? undefined : ground.files.syncDirectory(path)),
      },
    }),
  },
  {
    title: 'the time for a checkpoint never comes',
    invariant: /^the checkpoint of record \d+ is the newest/,
    of: (ground) => ({
      ...ground,
      after: (ms, run) => (ms === CHECKPOINT_AFTER_MS ? () => {} : ground.after(ms, run)),
    }),
  },
];

type Minutes = readonly (readonly [minute: number, count: number])[];

/** Reads other counts from the ledger than are in it. */
const withQuotas = (ground: Ground, counted: (used: Minutes) => Minutes): Ground => {
  const read = (name: string): string | null => {
    const text = ground.ledger.read(name);
    if (text === null) return text;
    const kept = JSON.parse(text);
    return JSON.stringify({ ...kept, calls: counted(kept.calls), questions: counted(kept.questions) });
  };
  return { ...ground, ledger: { ...ground.ledger, read } };
};

/** Of each world, what was read the first time. */
const firstRead = new WeakMap<World, string>();

/** Signs the end of what is about to be written, where a checkpoint is in it. */
const keepEarly = async ({ files, now }: Ground, lines: string): Promise<void> => {
  if (!lines.includes('"type":"checkpoint"')) return;
  const { seq, hash } = JSON.parse(lines.trimEnd().split('\n').at(-1) as string);
  const { signer, keep } = await openSeal('/state', '/log', files);
  await keep(signer.signHead({ seq, hash }, now()));
};

// Tombstones: what was removed and is not destroyed yet. Listed, brought back, or destroyed before their time.
import { isRestriction } from '../authority/birth.ts';
import { isTombstoneMarker, reaperVerdict } from '../authority/tombstone.ts';
import { readQube } from '../fleet/live.ts';
import { JournalUnavailable } from '../journal/unavailable.ts';
import type { QubeName } from '../names.ts';
import { isManaged, type Qube } from '../qube.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { pass, tombstonesIn } from '../reaper/pass.ts';
import type { Settings } from '../settings/settings.ts';
import type { Reaped, Tombstones } from './answers.ts';
import { effect } from './effect.ts';
import type { ControlParts } from './parts.ts';
import type { TierWord } from './protocol.ts';
import { declined, done, type Said } from './socket.ts';
import { afterWriting, writeTags } from './tier.ts';
import { tierSteps } from './tier-tags.ts';

type Tombstone = Tombstones['tombstones'][number];

const AWAY = 'qubesd cannot be asked just now. See qmcpctl doctor.';

export const listTombstones = (_: object, parts: ControlParts): Promise<Said> =>
  unlessAway(async () => {
    const settings = parts.settings.current();
    const tombstones = await all(parts, settings);
    return done({ retention_s: settings.tombstoneRetention, tombstones } satisfies Tombstones);
  });

const all = async ({ fleet, admin, now }: ControlParts, settings: Settings): Promise<Tombstone[]> => {
  const found: Tombstone[] = [];
  for (const name of tombstonesIn(await fleet.snapshot())) {
    const qube = await readQube(admin, name);
    if (qube && markersOf(qube).length > 0) found.push(tombstoneOf(qube, settings, now()));
  }
  return found;
};

const tombstoneOf = ({ name, uuid, tags, state }: Qube, settings: Settings, nowMs: number): Tombstone => {
  const retention = settings.tombstoneRetention;
  const all = tags ?? new Set<string>();
  const { verdict, age } = reaperVerdict({ tags: all, halted: state === 'Halted', now: nowMs / 1000, retention });
  return {
    name,
    uuid,
    age_s: age === null ? null : Math.floor(age),
    due_s: age === null || retention === null ? null : Math.max(0, Math.ceil(retention - age)),
    verdict,
    restrictions: [...all].filter(isRestriction).sort(),
  };
};

const markersOf = ({ tags }: Pick<Qube, 'tags'>): string[] => [...(tags ?? [])].filter(isTombstoneMarker).sort();

/**
 * Back under the umbrella, on the tier that the operator names. The marker goes last: until then the reaper leaves the qube
 * alone and it is still listed here. Restrictions were never taken away.
 */
export const restore = ({ name, tier }: { readonly name: QubeName; readonly tier: TierWord }, parts: ControlParts) =>
  effect(
    name,
    {
      action: 'restore-tombstone',
      args: { name, tier },
      obstacle: notATombstone,
      perform: async (qube) => {
        const steps = tierSteps(qube.tags ?? new Set(), tier);
        const markers = markersOf(qube).map((tag) => ({ do: 'remove', tag }) as const);
        const managed = await writeTags(qube, steps, parts.admin);
        const after = managed && (await writeTags(qube, markers, parts.admin));
        return afterWriting(qube, [...steps, ...markers], after, parts.settings.current());
      },
    },
    parts,
  );

const notATombstone = (qube: Qube): string | null =>
  markersOf(qube).length > 0 ? null : `${qube.name} is not a tombstone. See qmcpctl tombstones list.`;

/** Destroys the named tombstone now, or those whose time is over. */
export const reap = ({ name }: { readonly name: QubeName | null }, parts: ControlParts): Promise<Said> =>
  name === null ? unlessAway(() => reapDue(parts)) : reapNow(name, parts);

const reapNow = (name: QubeName, parts: ControlParts): Promise<Said> =>
  effect(
    name,
    {
      action: 'reap-tombstone',
      args: { name },
      obstacle: async (qube) => notATombstone(qube) ?? (await whyNotNow(qube, parts)),
      perform: async ({ uuid }) => {
        await parts.admin.lifecycle({ uuid }, 'Remove');
        return done({ destroyed: [name], left: [] } satisfies Reaped);
      },
    },
    parts,
  );

const whyNotNow = async (qube: Qube, { admin }: ControlParts): Promise<string | null> => {
  if (isManaged(qube)) {
    return `${qube.name} has the marker of a tombstone and is managed, so it is none. Mend its tags: qvm-tags ${qube.name}`;
  }
  // C47: only the literal state counts, read from where a failure shows.
  const state = await admin.state({ uuid: qube.uuid }).catch(() => null);
  return state === 'Halted' ? null : `${qube.name} is not halted. Shut it down first: qvm-shutdown ${qube.name}`;
};

const reapDue = async (parts: ControlParts): Promise<Said> => {
  const { admin, fleet, settings, journal, now, monotonicMs, broker } = parts;
  const before = await all(parts, settings.current());
  const stopping = new AbortController().signal;
  const passParts = { admin, fleet, settings, journal, now, monotonicMs, stopping, alone: broker.housekeeping };
  try {
    await pass(passParts, new Map());
  } catch (error) {
    if (!(error instanceof JournalUnavailable)) throw error;
    return declined('Not all was looked at: the journal cannot be written. See qmcpctl doctor.');
  }
  const after = new Set((await all(parts, settings.current())).map(({ uuid }) => uuid));
  return done({
    destroyed: before.filter(({ uuid }) => !after.has(uuid)).map(({ name }) => name),
    left: before.filter(({ uuid }) => after.has(uuid)).map(({ name, verdict }) => ({ name, verdict })),
  } satisfies Reaped);
};

const unlessAway = async (work: () => Promise<Said>): Promise<Said> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AdminError) return declined(AWAY);
    throw error;
  }
};

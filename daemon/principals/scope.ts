// Which managed qubes there are for a caller: those that its name patterns name, and those it had created. Any other is to
// it as if it were not managed, in reads as in changes. Pure.
import { ownerTag } from '../authority/birth.ts';
import type { FleetView, Snapshot } from '../fleet/view.ts';
import { isManaged, type Qube, UMBRELLA } from '../qube.ts';
import { type Caller, ownerOf } from './caller.ts';
import { matches } from './patterns.ts';

type Seen = Pick<Qube, 'name' | 'tags'>;

/** Whether the qube carries the tag of having been created for this caller. */
export const isOwn = ({ tags }: Pick<Qube, 'tags'>, caller: Caller): boolean =>
  tags?.has(ownerTag(ownerOf(caller))) ?? false;

/** Whether the caller's patterns let it name this qube. */
export const isNamable = (qube: Seen, caller: Caller): boolean => {
  const patterns = caller.limits?.names ?? null;
  return patterns === null || matches(patterns, qube.name) || isOwn(qube, caller);
};

/** Whether the qube is a managed one for this caller. */
export const isInScope = (qube: Seen, caller: Caller): boolean => isManaged(qube) && isNamable(qube, caller);

/** What reads look at. */
export type ReadableFleet = Pick<FleetView, 'isStanding' | 'peek' | 'snapshot' | 'isCurrent' | 'live' | 'follow'>;

/** The fleet as this caller may see it: the same one, in which qubes out of its scope do not carry the umbrella. */
export function scopedTo(caller: Caller, fleet: ReadableFleet): ReadableFleet {
  if (!caller.limits?.names) return fleet;
  return {
    get isStanding() {
      return fleet.isStanding;
    },
    peek: () => {
      const snapshot = fleet.peek();
      return snapshot && scopedSnapshot(snapshot, caller);
    },
    snapshot: async () => scopedSnapshot(await fleet.snapshot(), caller),
    isCurrent: (qube) => fleet.isCurrent(qube),
    live: async (name) => {
      const qube = await fleet.live(name);
      return qube && scopedQube(qube, caller);
    },
    follow: (follower) => fleet.follow(follower),
  };
}

/** Per snapshot, what the callers with the same limits and the same own qubes see of it. */
const scoped = new WeakMap<Snapshot, Map<string, { readonly limits: Caller['limits']; readonly snapshot: Snapshot }>>();
/** Callers remembered per snapshot; a read of one more is made anew. */
const CALLERS_MAX = 64;

/** The same object for the same snapshot and caller, so that what is known of a snapshot stays known. */
function scopedSnapshot(snapshot: Snapshot, caller: Caller): Snapshot {
  const known = scoped.get(snapshot) ?? new Map();
  const held = known.get(ownerOf(caller));
  if (held && held.limits === caller.limits) return held.snapshot;
  const made: Snapshot = new Map([...snapshot].map(([name, qube]) => [name, scopedQube(qube, caller)]));
  if (known.size < CALLERS_MAX)
    scoped.set(snapshot, known.set(ownerOf(caller), { limits: caller.limits, snapshot: made }));
  return made;
}

const scopedQube = <Q extends Seen>(qube: Q, caller: Caller): Q =>
  !isManaged(qube) || isNamable(qube, caller) ? qube : { ...qube, tags: without(qube.tags, UMBRELLA) };

const without = (tags: Qube['tags'], tag: string): Qube['tags'] =>
  new Set([...(tags ?? [])].filter((each) => each !== tag));

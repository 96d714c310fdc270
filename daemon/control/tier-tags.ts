// The tags that put a qube on a tier of the ladder, and the order in which they may be written: at no point do they grant
// more than before or after, and at no point is a qube managed and a dump at once. Pure.
import { elevationOf, tierOf } from '../authority/capabilities.ts';
import { DUMP_TAG, ELEVATIONS, UMBRELLA_TAG } from '../authority/tables.ts';
import type { TierWord } from './protocol.ts';

type Tags = ReadonlySet<string>;

export interface TagStep {
  readonly do: 'add' | 'remove';
  readonly tag: string;
}

const elevationTag = (tier: TierWord): string | null => ELEVATIONS.find(([, each]) => each === tier)?.[0] ?? null;

/** What to do, in this order, so that a qube with these tags is on that tier. Empty where it is already. */
export const tierSteps = (tags: Tags, tier: TierWord): readonly TagStep[] => {
  const isManaged = isGranted(tier);
  const elevation = elevationTag(tier);
  const surplus = ELEVATIONS.map(([tag]) => tag).filter((tag) => tag !== elevation);
  const steps: readonly TagStep[] = [
    // Out of reach first: without the umbrella no tier grants anything.
    ...(isManaged ? [] : [remove(UMBRELLA_TAG)]),
    ...(tier === 'dump' ? [] : [remove(DUMP_TAG)]),
    // Of several tiers the highest counts, so the new one may come before the old one goes.
    ...(elevation === null ? [] : [add(elevation)]),
    ...surplus.map(remove),
    ...(isManaged ? [add(UMBRELLA_TAG)] : []),
    ...(tier === 'dump' ? [add(DUMP_TAG)] : []),
  ];
  return steps.filter((step) => tags.has(step.tag) === (step.do === 'remove'));
};

const add = (tag: string): TagStep => ({ do: 'add', tag });
const remove = (tag: string): TagStep => ({ do: 'remove', tag });

/** Whether a qube of that tier is managed. */
export const isGranted = (tier: TierWord): boolean => tier !== 'none' && tier !== 'dump';

/** The tier that a qube's tags name, whatever an untiered one is worth. */
export const tierWord = (tags: Tags): TierWord => {
  if (!tags.has(UMBRELLA_TAG)) return tags.has(DUMP_TAG) ? 'dump' : 'none';
  return elevationOf(tags) ?? 'ro';
};

/** Whether the tier could be reached but grants more than it says: untiered, while the default is full. */
export const isOpenEnded = (tier: TierWord, tierDefault: 'full' | 'ro'): boolean =>
  tier === 'ro' && tierOf(new Set([UMBRELLA_TAG]), tierDefault) !== 'ro';

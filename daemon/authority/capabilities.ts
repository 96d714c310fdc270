// From tags to what a caller can do with a qube (contract 3.1). Pure.
import { TIERS, type Tier } from '../settings/settings.ts';
import { CAPABILITIES, type Capability, DUMP_TAG, ELEVATIONS, UMBRELLA_TAG } from './tables.ts';

export type Tags = ReadonlySet<string>;

const NONE: ReadonlySet<Capability> = new Set();

/** The tier a qube's tags name, or null without the umbrella. A default other than `full` counts as `ro`. */
export function tierOf(tags: Tags, tierDefault: 'full' | 'ro'): Tier | null {
  if (!tags.has(UMBRELLA_TAG)) return null;
  return elevationOf(tags) ?? (tierDefault === 'full' ? 'full' : 'ro');
}

/** The highest tier among the elevation tags, whatever else is there, or null if there is none. */
export const elevationOf = (tags: Tags): Tier | null => ELEVATIONS.find(([tag]) => tags.has(tag))?.[1] ?? null;

/** The lower of two tiers. */
export const lower = (a: Tier, b: Tier): Tier => (TIERS.indexOf(a) < TIERS.indexOf(b) ? a : b);

/**
 * What may be done with a qube that carries these tags, never more than the ceiling's tier (undefined or null: no ceiling;
 * one that is not a tier: nothing).
 */
export function capabilitiesOf(tags: Tags, tierDefault: 'full' | 'ro', ceiling?: Tier | null): ReadonlySet<Capability> {
  const tier = bounded(tierOf(tags, tierDefault), ceiling ?? null);
  const ladder = tier === null ? NONE : (CAPABILITIES.get(tier) ?? NONE);
  return tags.has(DUMP_TAG) ? new Set([...ladder, 'dump-in']) : ladder;
}

const bounded = (tier: Tier | null, ceiling: Tier | null): Tier | null => {
  if (tier === null || ceiling === null) return tier;
  return TIERS.includes(ceiling) ? lower(tier, ceiling) : null;
};

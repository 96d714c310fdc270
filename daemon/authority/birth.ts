// The tags a created qube is born with (contract 1.15), and which tags are the broker's to write (I8, I10). Pure.
import type { Tier } from '../settings/settings.ts';
import { elevationOf, lower, type Tags } from './capabilities.ts';
import { DUMP_TAG, ELEVATIONS, GUARD_TAG, UMBRELLA_TAG } from './tables.ts';

const OWNER_PREFIX = 'qmcp-owner_';
const EGRESS_LOCK_PREFIX = 'qmcp-egress-locked_';
/** What an owner tag leaves of a principal's name, so that the whole is in the grammar of tags (names.ts). */
const OWNER_MAX = 128 - OWNER_PREFIX.length;
const CONTROLLED: ReadonlySet<string> = new Set([UMBRELLA_TAG, DUMP_TAG, ...ELEVATIONS.map(([tag]) => tag)]);

/** The vocabulary that is exact on a created or entombed qube; all other tags are the operator's or the platform's. */
export const isControlled = (tag: string): boolean => CONTROLLED.has(tag) || tag.startsWith('qmcp-');

/** Tags that only take something away; they pass to children and outlive the umbrella. */
export const isRestriction = (tag: string): boolean =>
  tag === GUARD_TAG || tag === 'anon-vm' || tag.startsWith(EGRESS_LOCK_PREFIX);

/** The tag that names who had a qube created; characters that no tag may have are dropped. */
export function ownerTag(principal: string): string {
  const kept = principal.replace(/[^A-Za-z0-9_-]/g, '').slice(0, OWNER_MAX);
  return `${OWNER_PREFIX}${kept === '' ? 'unknown' : kept}`;
}

/**
 * The elevation tag of a child, or null for none: the source's highest one, no higher than the ceiling. A source that is
 * outside the umbrella, or untiered, or a ceiling of `ro`, makes an untiered child.
 */
export function birthTier(source: Tags, ceiling: Tier | 'none'): string | null {
  const tier = source.has(UMBRELLA_TAG) ? elevationOf(source) : null;
  if (tier === null) return null;
  const born = ceiling === 'none' ? tier : lower(tier, ceiling);
  return ELEVATIONS.find(([, each]) => each === born)?.[0] ?? null;
}

/**
 * The tags that a child has to carry, from those of its source (template, disposable template or clone source). Together
 * with `tagChanges` it is exact on the controlled vocabulary; restrictions outside it are added and never removed.
 */
export function birthTags(source: Tags, ceiling: Tier | 'none', principal: string): ReadonlySet<string> {
  const tier = birthTier(source, ceiling);
  const restrictions = [...source].filter(isRestriction);
  return new Set([UMBRELLA_TAG, ownerTag(principal), ...(tier === null ? [] : [tier]), ...restrictions]);
}

export interface TagChanges {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/**
 * What to do so that a qube carries exactly `wanted` of the controlled vocabulary: first add, then remove, each in the order
 * given (by code point). On a re-read, two empty lists are the proof that it does.
 */
export const tagChanges = (present: Tags, wanted: Tags): TagChanges => ({
  add: [...wanted].filter((tag) => !present.has(tag)).sort(),
  remove: [...present].filter((tag) => isControlled(tag) && !wanted.has(tag)).sort(),
});

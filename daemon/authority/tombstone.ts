// Tombstones (contract section 4): the tags of a removed qube, and when the reaper may destroy it. Pure.
import { isRestriction } from './birth.ts';
import type { Tags } from './capabilities.ts';
import { UMBRELLA_TAG } from './tables.ts';

const MARKER_PREFIX = 'qmcp-tombstone_';

export const isTombstoneMarker = (tag: string): boolean => tag.startsWith(MARKER_PREFIX);

/** The marker of a qube removed at `now`, seconds since 1970 (UTC); parts of a second are dropped. */
export const tombstoneMarker = (now: number): string => `${MARKER_PREFIX}${Math.floor(now)}`;

/** The tags a tombstone carries: the marker, and the restrictions it had. With `tagChanges`: no umbrella, tier or owner. */
export const tombstoneTags = (tags: Tags, now: number): ReadonlySet<string> =>
  new Set([tombstoneMarker(now), ...[...tags].filter(isRestriction)]);

export type ReaperVerdict =
  | 'not-a-tombstone'
  | 'config-malformed'
  | 'stuck-in-umbrella'
  | 'undatable'
  | 'running'
  | 'within-window'
  | 'due';

export interface Remains {
  readonly tags: Tags;
  /** Whether the power state was read and is exactly Halted. */
  readonly halted: boolean;
  /** Seconds since 1970 (UTC). */
  readonly now: number;
  /** Seconds; null where the operator's file is malformed: nothing is due then. */
  readonly retention: number | null;
}

/** Whether a qube is due to be destroyed, or why not; `age` in seconds since the latest marker, null where there is none. */
export function reaperVerdict({ tags, halted, now, retention }: Remains): {
  readonly verdict: ReaperVerdict;
  readonly age: number | null;
} {
  const markers = [...tags].filter(isTombstoneMarker);
  const buried = latest(markers);
  const age = buried === null ? null : now - buried;
  const verdict = (): ReaperVerdict => {
    if (markers.length === 0) return 'not-a-tombstone';
    if (retention === null) return 'config-malformed';
    if (tags.has(UMBRELLA_TAG)) return 'stuck-in-umbrella';
    if (age === null) return 'undatable';
    if (!halted) return 'running';
    return age >= retention ? 'due' : 'within-window';
  };
  return { verdict: verdict(), age };
}

/** Of several markers the latest counts, so that a second removal starts the time anew. */
function latest(markers: readonly string[]): number | null {
  const times = markers.map((tag) => tag.slice(MARKER_PREFIX.length)).filter((time) => /^[0-9]+$/.test(time));
  return times.length === 0 ? null : times.reduce((most, time) => Math.max(most, Number(time)), 0);
}

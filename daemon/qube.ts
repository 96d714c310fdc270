// What the broker knows of a qube, and the words the platform has for it.
import type { QubeName, Uuid } from './names.ts';

export const LABELS = ['black', 'blue', 'gray', 'green', 'orange', 'purple', 'red', 'yellow'] as const;
export type Label = (typeof LABELS)[number];

/** The tag a caller may see and read by; everything else about tags is dom0's own business. */
export const UMBRELLA = 'ai-managed';

/** The states of `admin.vm.List` (qubes.vm.qubesvm get_power_state). */
export const POWER_STATES = [
  'Halted',
  'Transient',
  'Running',
  'Paused',
  'Suspended',
  'Halting',
  'Dying',
  'Crashed',
  'NA',
] as const;
export type PowerState = (typeof POWER_STATES)[number];

/** One qube as qubesd described it at one moment. `tags` is null when they could not be read, which counts as none. */
export interface Qube {
  readonly name: QubeName;
  readonly uuid: Uuid;
  readonly klass: string;
  readonly state: PowerState;
  readonly tags: ReadonlySet<string> | null;
  /** The tags it really has, while it is in quarantine: then `tags` is empty, so that nobody takes it for managed (I8). */
  readonly quarantined?: ReadonlySet<string>;
}

/** What a qube with these tags is for callers. `isHeld`: the broker keeps it from them. */
export const seen = (tags: Qube['tags'], isHeld: boolean | undefined): Pick<Qube, 'tags' | 'quarantined'> =>
  isHeld && tags ? { tags: NONE, quarantined: tags } : { tags };

const NONE: ReadonlySet<string> = new Set();

/** The tags it has in qubesd, for sums in which it counts all the same. */
export const realTags = ({ tags, quarantined }: Pick<Qube, 'tags' | 'quarantined'>): Qube['tags'] =>
  quarantined ?? tags;

export const isManaged = (qube: Pick<Qube, 'tags'>): boolean => qube.tags?.has(UMBRELLA) ?? false;

// Which features callers may write, and clones may carry over (contract section 0, R1): a list of what is known to be
// harmless. Everything else, and whatever the platform adds next year, is the operator's.
import type { FeaturesAllowed } from '../settings/settings.ts';

/** Features whose value names another qube, which then has to be a managed one. */
export const CROSS_QUBE_FEATURES: ReadonlySet<string> = new Set(['audiovm', 'guivm']);

const NAMES: ReadonlySet<string> = new Set(['menu-items', ...CROSS_QUBE_FEATURES]);
const PREFIX = 'ai-';
/** Not even the operator's file opens these: who writes them decides what the broker or the GUI hides. */
const NEVER = /^(?:internal$|qmcp)/;

/** Whether a feature may be written. `allowed` is what the operator's file `features-allowed` adds. */
export const isSettableFeature = (name: string, { names, prefixes }: FeaturesAllowed): boolean =>
  !NEVER.test(name) &&
  (NAMES.has(name) || name.startsWith(PREFIX) || names.has(name) || prefixes.some((prefix) => name.startsWith(prefix)));

// Putting a qube on a tier, or taking it out of the agents' reach.

import { tierOf } from '../authority/capabilities.ts';
import { isTombstoneMarker } from '../authority/tombstone.ts';
import { RELEASE } from '../journal/open-intents.ts';
import type { QubeName } from '../names.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import type { Settings } from '../settings/settings.ts';
import type { Tagged } from './answers.ts';
import { effect } from './effect.ts';
import type { ControlParts } from './parts.ts';
import type { TierWord } from './protocol.ts';
import { declined, done, type Said } from './socket.ts';
import { isGranted, isOpenEnded, type TagStep, tierSteps, tierWord } from './tier-tags.ts';

interface Wanted {
  readonly name: QubeName;
  readonly tier: TierWord;
  /** Also where the tier grants more than it says. */
  readonly force: boolean;
}

export const setTier = ({ name, tier, force }: Wanted, parts: ControlParts): Promise<Said> => {
  const settings = parts.settings.current();
  if (isOpenEnded(tier, settings.tierDefault) && !force) return Promise.resolve(declined(openEnded(name)));
  return effect(
    name,
    {
      action: 'set-tier',
      args: { name, tier },
      obstacle: ({ klass, tags }) => obstacle(name, klass, tags),
      perform: async (qube) => {
        const steps = tierSteps(qube.tags ?? new Set(), tier);
        const after = await writeTags(qube, steps, parts.admin);
        const isReleasing = after !== null && isGranted(tier) && parts.quarantine.holds(qube);
        if (isReleasing && !(await release(qube, parts))) return declined(stillHeld(name));
        return afterWriting(qube, steps, after, settings, isReleasing);
      },
    },
    parts,
  );
};

/** I8: a tier that agents can use is the operator's word that they may have the qube. Its record comes first. */
const release = async ({ name, uuid }: Qube, { journal, quarantine }: ControlParts): Promise<boolean> => {
  try {
    await journal.append({ type: 'operator', verb: RELEASE, args: { name, uuid, by: 'qmcpctl' } });
  } catch {
    return false;
  }
  return quarantine.release({ name, uuid });
};

const stillHeld = (name: QubeName): string =>
  `${name} has its tags and stays in quarantine: that it is released could not be written down. See qmcpctl doctor.`;

const openEnded = (name: QubeName): string =>
  `In mode compat a managed qube without a tier tag grants everything, so ${name} would get the tier full and not ro. ` +
  'Run qmcpctl mode least-privilege first, or say --force to have it so.';

const obstacle = (name: QubeName, klass: string, tags: Qube['tags']): string | null => {
  if (klass === 'AdminVM') return 'dom0 is never managed.';
  if (tags === null) return `The tags of ${name} cannot be read, so nothing was done.`;
  if ([...tags].some(isTombstoneMarker))
    return `${name} is a tombstone. Bring it back first: qmcpctl tombstones restore ${name}`;
  return null;
};

/**
 * Writes the tags in that order and gives those that a re-read shows; null where it does not show what was written. What
 * failed half-way is left as it is: it grants no more than before or after, and the same verb finishes it.
 */
export const writeTags = async (
  { uuid }: Pick<Qube, 'uuid'>,
  steps: readonly TagStep[],
  admin: Admin,
): Promise<ReadonlySet<string> | null> => {
  const dest = { uuid };
  for (const step of steps) await (step.do === 'add' ? admin.setTag(dest, step.tag) : admin.removeTag(dest, step.tag));
  const after = await admin.tags(dest);
  return steps.every((step) => after.has(step.tag) === (step.do === 'add')) ? after : null;
};

/** What to say after `writeTags`. */
export const afterWriting = (
  { name, uuid }: Pick<Qube, 'name' | 'uuid'>,
  steps: readonly TagStep[],
  after: ReadonlySet<string> | null,
  { tierDefault }: Pick<Settings, 'tierDefault'>,
  released = false,
): Said =>
  after === null
    ? declined(`qubesd took the tags of ${name} but does not show them. Look: qvm-tags ${name}`)
    : done({
        name,
        uuid,
        tier: tierWord(after),
        effective: tierOf(after, tierDefault),
        added: steps.filter((step) => step.do === 'add').map(({ tag }) => tag),
        removed: steps.filter((step) => step.do === 'remove').map(({ tag }) => tag),
        released,
      } satisfies Tagged);

// Freezing a source holds at once, whatever the disk says; thawing needs its record first.
import type * as z from 'zod/mini';
import type { QubeName } from '../names.ts';
import type { frozen, thawed } from './answers.ts';
import type { ControlParts } from './parts.ts';
import { declined, done, type Said } from './socket.ts';
import { soon } from './soon.ts';

interface OfSource {
  readonly source: QubeName;
}

export const freeze = async ({ source }: OfSource, { restraint, journal, fleet }: ControlParts): Promise<Said> => {
  const already = restraint.frozen.includes(source);
  const saved = restraint.freeze(source).then(
    () => true,
    () => false,
  );
  journal.note({ type: 'operator', verb: 'freeze', args: { source, by: 'qmcpctl' } });
  const lasts = await saved;
  // Only so that a mistyped name is noticed; the freeze holds whatever comes of it.
  const exists = await soon(
    fleet.live(source).then((qube) => qube !== null),
    null,
  );
  return done({ source, already, lasts, exists } satisfies z.infer<typeof frozen>);
};

export const thaw = async ({ source }: OfSource, { restraint, journal }: ControlParts): Promise<Said> => {
  if (restraint.complaint !== null) return declined(restraint.complaint);
  // A freeze that comes while this one is written down is not what is thawed.
  const thawIt = restraint.thawing(source);
  if (!thawIt) return done({ source, was_frozen: false } satisfies z.infer<typeof thawed>);
  try {
    await journal.append({ type: 'operator', verb: 'thaw', args: { source, by: 'qmcpctl' } });
  } catch {
    return declined(`${source} stays frozen: the journal cannot be written. See qmcpctl doctor.`);
  }
  try {
    await thawIt();
    return done({ source, was_frozen: true } satisfies z.infer<typeof thawed>);
  } catch {
    return declined(
      `${source} stays frozen: that it is thawed could not be saved. Is the disk full? See qmcpctl doctor.`,
    );
  }
};

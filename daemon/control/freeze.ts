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
  let lasts = true;
  try {
    await restraint.freeze(source);
  } catch {
    lasts = false;
  }
  journal.note({ type: 'operator', verb: 'freeze', args: { source, by: 'qmcpctl' } });
  // Only so that a mistyped name is noticed; the freeze holds whatever comes of it.
  const exists = await soon(
    fleet.live(source).then((qube) => qube !== null),
    null,
  );
  return done({ source, already, lasts, exists } satisfies z.infer<typeof frozen>);
};

export const thaw = async ({ source }: OfSource, { restraint, journal }: ControlParts): Promise<Said> => {
  if (restraint.complaint !== null) return declined(restraint.complaint);
  if (!restraint.frozen.includes(source)) {
    return done({ source, was_frozen: false } satisfies z.infer<typeof thawed>);
  }
  try {
    await journal.append({ type: 'operator', verb: 'thaw', args: { source, by: 'qmcpctl' } });
  } catch {
    return declined(`${source} stays frozen: the journal cannot be written. See qmcpctl doctor.`);
  }
  try {
    return done({ source, was_frozen: await restraint.thaw(source) } satisfies z.infer<typeof thawed>);
  } catch {
    return declined(
      `${source} stays frozen: that it is thawed could not be saved. Is the disk full? See qmcpctl doctor.`,
    );
  }
};

// An effect of the operator's: alone on its qube, its intent on disk before and its outcome after (I4), as any other.
import { createHash } from 'node:crypto';
import { readQube } from '../fleet/live.ts';
import { canonical } from '../journal/canonical.ts';
import type { NamedQube } from '../journal/record.ts';
import type { Digest, QubeName } from '../names.ts';
import type { Qube } from '../qube.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { ControlParts } from './parts.ts';
import { declined, type Said } from './socket.ts';

const SERVICE = 'qmcpctl';
const DIGEST_CONTEXT = 'qmcp-operation-v1\0';

export interface Deed {
  readonly action: string;
  readonly args: Readonly<Record<string, string | number | boolean | null>>;
  /** Why it cannot be done to this qube as it is now, in a sentence, or null. */
  readonly obstacle: (qube: Qube) => string | null | Promise<string | null>;
  /** Does it. Gives a refusal where it did not come about; may reject with `AdminError`. `seq`: the number of its intent. */
  readonly perform: (qube: Qube, seq: number) => Promise<Said>;
}

/** Does something to the qube of this name, on facts read while nobody else touches it. */
export const effect = (name: QubeName, deed: Deed, parts: ControlParts): Promise<Said> =>
  parts.broker.housekeeping([name], async (call) => {
    const { admin, fleet, journal, monotonicMs } = parts;
    const qube = await readQube(admin, name).catch(awayOr);
    if (qube === 'away') return declined('qubesd cannot be asked just now, so nothing was done. See qmcpctl doctor.');
    if (!qube) return declined(`There is no qube ${name}.`);
    const obstacle = await deed.obstacle(qube);
    if (obstacle !== null) return declined(obstacle);
    const named: NamedQube[] = [{ role: 'target', name, uuid: qube.uuid }];
    const { action, args } = deed;
    const of = { call, source: 'dom0', principal: 'operator', service: SERVICE, action, qubes: named, args };
    let seq: number;
    try {
      ({ seq } = await journal.append({ ...of, type: 'intent', digest: digestOf(action, args, qube), nonce: null }));
    } catch {
      return declined('Nothing was done: the journal cannot be written. See qmcpctl doctor.');
    }
    const began = monotonicMs();
    const over = (ok: boolean, cause: string | null): void => {
      fleet.changed(name);
      const duration_ms = Math.round(monotonicMs() - began);
      journal.note({ ...of, type: 'outcome', ok, error: ok ? null : 'not done', cause, duration_ms });
    };
    try {
      const said = await deed.perform(qube, seq);
      over(said.ok, null);
      return said;
    } catch (error) {
      const cause = error instanceof AdminError ? (error.type ?? error.kind) : 'unplanned';
      over(false, cause);
      if (!(error instanceof AdminError)) throw error;
      return declined(`qubesd did not do all of it (${cause}). Look: qmcpctl tier show ${name}. Then try again.`);
    }
  });

/** qubesd away is an answer here. */
const awayOr = (error: unknown): 'away' => {
  if (error instanceof AdminError) return 'away';
  throw error;
};

const digestOf = (action: string, args: Deed['args'], { name, uuid, tags }: Qube): Digest =>
  createHash('sha256')
    .update(DIGEST_CONTEXT)
    .update(canonical({ service: SERVICE, action, args, name, uuid, tags: [...(tags ?? [])].sort() }))
    .digest('hex') as Digest;

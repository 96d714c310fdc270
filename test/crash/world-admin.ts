// The Admin API straight into a simulated world, without a socket: quick enough to be broken at every call.
import type { EventSink } from '../../daemon/qubesadmin/events.ts';
import { AdminError, type AdminRequest } from '../../daemon/qubesadmin/wire.ts';
import { perform } from '../qubesd/methods.ts';
import { Abort, Refusal } from '../qubesd/wire.ts';
import type { World } from '../qubesd/world.ts';

/** Performs one call. Rejects with `AdminError`, as a client of qubesd would. */
export const callTo = async (world: World, { method, arg = '', dest, payload = '' }: AdminRequest): Promise<Buffer> => {
  const named = dest === 'dom0' ? 'dom0' : 'uuid' in dest ? `uuid:${dest.uuid}` : dest.name;
  try {
    const request = { method, arg, source: 'dom0', dest: named, payload: Buffer.from(payload) };
    return Buffer.from(await perform(world, world.resolve(named), request));
  } catch (error) {
    if (error instanceof Refusal) throw new AdminError('exception', error.type, error.message);
    if (error instanceof Abort) throw new AdminError('empty');
    throw error;
  }
};

/** Tells of everything that happens in the world. Returns how to stop that. */
export const eventsOf = (world: World, sink: EventSink): (() => void) => {
  sink.established();
  return world.subscribe((subject, event, details) => {
    const texts = Object.entries(details).map(([key, value]) => [key, value ?? 'None'] as const);
    sink.event({ subject, event, details: Object.fromEntries(texts) });
  });
};

// The network that a created qube inherits (contract 1.15, I8): the first link of a fixed chain that holds, and never
// the machine's default.
import { readQube } from '../fleet/live.ts';
import { isNamable } from '../principals/scope.ts';
import { type Refusal, refuse } from '../qrexec/door.ts';
import { isManaged, type Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError, type Destination } from '../qubesadmin/wire.ts';
import type { Scene } from './service.ts';

/** The managed qube that is to be the netvm, or null for no network at all. */
export interface Egress {
  readonly netvm: Pick<Qube, 'name' | 'uuid'> | null;
}

const UNRESOLVED = refuse('birth egress could not be resolved');
const UNMANAGED = refuse('netvm must reference an ai-managed qube');
const MISMATCH = refuse('netvm must match the inherited birth egress');

type Asking = Pick<Scene, 'admin' | 'settings' | 'caller'>;

const NO_NETWORK: Egress = { netvm: null };

/** The inherited egress, or its refusal. Rejects with `AdminError` when qubesd is away. */
export const inheritedEgress = async (source: Qube, asking: Asking): Promise<Egress | Refusal> =>
  (await chain(source, asking)) ?? UNRESOLVED;

/**
 * What comes of the `netvm` of a request: null is no network and asks nothing of the chain, a name must be the one that
 * the chain gives, undefined is whatever the chain gives. Rejects with `AdminError` when qubesd is away.
 */
export const requestedEgress = async (netvm: unknown, source: Qube, asking: Asking): Promise<Egress | Refusal> => {
  if (netvm === null) return NO_NETWORK;
  if (netvm === undefined) return inheritedEgress(source, asking);
  const wanted = typeof netvm === 'string' ? await managed(asking.admin, netvm) : null;
  // I6: one that the caller may not name is to it as if it were not managed.
  if (!wanted || !isNamable(wanted, asking.caller)) return UNMANAGED;
  const inherited = await chain(source, asking);
  return inherited?.netvm?.uuid === wanted.uuid ? inherited : MISMATCH;
};

/** null where the chain does not resolve. What cannot be read ends it, since it might have said no (R16). */
const chain = async (source: Qube, { admin, settings, caller }: Asking): Promise<Egress | null> => {
  const own = await netvmOf(admin, { uuid: source.uuid });
  if (own === undefined) return null;
  const kept = own && (await managed(admin, own));
  if (kept) return { netvm: kept };
  // Only a template's own network says nothing about the qubes made of it.
  if (source.klass !== 'TemplateVM') return own === null ? NO_NETWORK : null;

  const callers = await netvmOf(admin, { name: caller.source });
  if (callers === undefined) return null;
  const shared = callers && (await managed(admin, callers));
  if (shared) return { netvm: shared };

  const configured = settings.birthEgress && (await managed(admin, settings.birthEgress));
  return configured ? { netvm: configured } : null;
};

const managed = async (admin: Admin, name: string): Promise<Qube | null> => {
  const qube = await readQube(admin, name);
  return qube && isManaged(qube) ? qube : null;
};

/** The name in a qube's netvm; null where there is none, or no such qube; undefined where it cannot be read. */
const netvmOf = async (admin: Admin, dest: Destination): Promise<string | null | undefined> => {
  try {
    return (await admin.property(dest, 'netvm')).text || null;
  } catch (error) {
    if (!(error instanceof AdminError) || error.isAway) throw error;
    const absent = error.type === 'QubesNoSuchPropertyError' || error.type === 'QubesVMNotFoundError';
    return absent ? null : undefined;
  }
};

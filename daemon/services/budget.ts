// The pool budget (contract 1.12, 1.15): how many bytes agents' qubes hold, and whether there is room for more.
import { isTombstoneMarker } from '../authority/tombstone.ts';
import { inParallel } from '../fleet/in-parallel.ts';
import type { Uuid } from '../names.ts';
import { isOwn } from '../principals/scope.ts';
import { type Refusal, refuse } from '../qrexec/door.ts';
import { isManaged, type Qube, realTags } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Caller, Scene } from './service.ts';

/** What qubesd gives a new private volume, and so the least that any creation is charged. */
export const LEAST_CHARGE = 2 * 2 ** 30;

export const CAP_UNKNOWN = refuse('pool cap not configured');
export const USE_UNKNOWN = refuse('pool stats unavailable');
const CAP_EXCEEDED = refuse('pool cap exceeded');

/** Klasses whose root volume is their own and not a template's. */
const OWN_ROOT: ReadonlySet<string> = new Set(['TemplateVM', 'StandaloneVM']);

type Charged = Pick<Qube, 'uuid' | 'klass' | 'tags' | 'quarantined'>;

/** Managed qubes and tombstones count, in quarantine or not; tags that cannot be read are not managed. */
const isCharged = (qube: Charged): boolean => {
  const tags = realTags(qube);
  return isManaged({ tags }) || [...(tags ?? [])].some(isTombstoneMarker);
};

/** The bytes one qube is charged with; none for one that is gone. Rejects with `AdminError` where a volume cannot be read. */
export const footprint = async (admin: Admin, { uuid, klass }: Pick<Qube, 'uuid' | 'klass'>): Promise<number> => {
  try {
    const volumes = OWN_ROOT.has(klass) ? ['private', 'root'] : ['private'];
    const sizes = await Promise.all(volumes.map((volume) => admin.volume({ uuid }, volume)));
    return sizes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  } catch (error) {
    if (error instanceof AdminError && error.type === 'QubesVMNotFoundError') return 0;
    throw error;
  }
};

/** The bytes that these qubes are charged with together. Rejects with `AdminError` where a volume cannot be read. */
export const usedBytes = async (admin: Admin, qubes: readonly Charged[]): Promise<number> => {
  const sizes = await inParallel(qubes.filter(isCharged), (qube) => footprint(admin, qube));
  return sizes.reduce((sum, size) => sum + size, 0);
};

/** Every qube of the machine with its tags as they are now. Rejects with `AdminError`. */
const allQubes = async (admin: Admin): Promise<Charged[]> => {
  const rows = (await admin.list()).filter(({ klass }) => klass !== 'AdminVM');
  return inParallel(rows, async (row) => ({ ...row, tags: await tagsOf(admin, row.uuid) }));
};

const tagsOf = async (admin: Admin, uuid: Uuid): Promise<ReadonlySet<string> | null> => {
  try {
    return await admin.tags({ uuid });
  } catch (error) {
    if (!(error instanceof AdminError) || error.isAway) throw error;
    return null;
  }
};

/**
 * Why there is no room, or null where there is: in the pool, or in what the caller may hold, which is `opaque`. `estimate`
 * gives the bytes that would be added. Read live, and only meaningful under the lock that all creations share.
 */
export const budgetRefusal = async (
  { admin, fleet, settings: { poolCap }, caller }: Pick<Scene, 'admin' | 'fleet' | 'settings' | 'caller'>,
  estimate: () => Promise<number>,
  opaque: Refusal,
): Promise<Refusal | null> => {
  if (poolCap === null) return CAP_UNKNOWN;
  try {
    const added = await estimate();
    // I6: asking for all tags takes as long as the machine has qubes; whose share is used up must not be told by that. A view
    // that is behind can only refuse once too often: a yes is counted live.
    const viewed = isLimited(caller) && fleet?.isStanding ? [...(await fleet.snapshot()).values()] : [];
    if (!(await isAllowed(admin, caller, viewed, added))) return opaque;
    const qubes = await allQubes(admin);
    if (!(await isAllowed(admin, caller, qubes, added))) return opaque;
    return (await usedBytes(admin, qubes)) + added > poolCap ? CAP_EXCEEDED : null;
  } catch (error) {
    if (error instanceof AdminError) return USE_UNKNOWN;
    throw error;
  }
};

const isLimited = ({ limits }: Caller): boolean => (limits?.qubes ?? null) !== null || (limits?.bytes ?? null) !== null;

/** Whether one more qube of this many bytes is within what the caller may hold at a time. */
const isAllowed = async (admin: Admin, caller: Caller, qubes: readonly Charged[], added: number): Promise<boolean> => {
  const { qubes: mostQubes = null, bytes: mostBytes = null } = caller.limits ?? {};
  if (mostQubes === null && mostBytes === null) return true;
  const own = qubes.filter((qube) => isOwn({ tags: realTags(qube) }, caller));
  if (mostQubes !== null && own.length >= mostQubes) return false;
  return mostBytes === null || (await usedBytes(admin, own)) + added <= mostBytes;
};

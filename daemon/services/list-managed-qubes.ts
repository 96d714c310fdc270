// qmcp.ListAIManagedQubes (contract 1.1): every managed qube, sorted by name. The body is not looked at.
import { inParallel } from '../fleet/in-parallel.ts';
import { redacted } from '../fleet/redaction.ts';
import type { Snapshot, ViewedQube } from '../fleet/view.ts';
import { type Reply, refuse } from '../qrexec/door.ts';
import { isManaged } from '../qube.ts';
import type { PropertyValue } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Reading, ReadService } from './service.ts';

const FAILED = refuse('list failed');

export const listManagedQubes: ReadService = {
  kind: 'read',
  name: 'qmcp.ListAIManagedQubes',
  malformed: null,
  answer(_json, reading) {
    const held = reading.fleet.peek();
    const known = held && replies.get(held);
    return known ?? list(reading);
  },
};

/** A snapshot never changes, so neither does what is said of it. */
const replies = new WeakMap<Snapshot, Reply>();

const list = async (reading: Reading): Promise<Reply> => {
  try {
    const snapshot = await reading.fleet.snapshot();
    const all = [...snapshot.values()];
    // One qube whose tags cannot be read fails the list: it might be managed.
    if (all.some((qube) => qube.tags === null)) return FAILED;
    const managed = all.filter(isManaged).sort((a, b) => (a.name < b.name ? -1 : 1));
    const complete = managed.every((qube) => qube.properties !== null);
    const qubes = await inParallel(managed, (qube) => row(qube, snapshot, reading));
    const reply: Reply = { ok: true, qubes };
    if (complete) replies.set(snapshot, reply);
    return reply;
  } catch (error) {
    if (error instanceof AdminError) return FAILED;
    throw error;
  }
};

const row = async (qube: ViewedQube, snapshot: Snapshot, { admin }: Reading) => {
  const property = async (name: string): Promise<PropertyValue | null> =>
    qube.properties ? (qube.properties.get(name) ?? null) : orMissing(admin.property({ uuid: qube.uuid }, name));
  const template = (await property('template'))?.text;
  return {
    name: qube.name,
    klass: qube.klass,
    label: (await property('label'))?.text || null,
    template: template ? redacted(snapshot, template) : null,
    power_state: qube.state,
  };
};

const orMissing = async (reading: Promise<PropertyValue>): Promise<PropertyValue | null> => {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof AdminError && error.type === 'QubesNoSuchPropertyError') return null;
    throw error;
  }
};

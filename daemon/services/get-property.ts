// qmcp.GetPropertyAIManaged (contract 1.2): one property of a managed qube, names out of scope redacted.
import * as z from 'zod/mini';
import { PLATFORM_PROPERTIES, VOLATILE_PROPERTIES } from '../fleet/properties.ts';
import { redacted } from '../fleet/redaction.ts';
import type { Snapshot, ViewedQube } from '../fleet/view.ts';
import { isQubeName } from '../names.ts';
import { NOT_FOUND, type Reply, refuse } from '../qrexec/door.ts';
import { isManaged, UMBRELLA } from '../qube.ts';
import type { PropertyValue } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Reading, ReadService } from './service.ts';

const READ_FAILED = refuse('read failed');
const request = z.object({ name: z.string().check(z.minLength(1)), property: z.unknown() });
/** What could stand in the header of an Admin API call at all (G40). */
const FRAMABLE = /^[\x21-\x7e]+$/;

export const getProperty: ReadService = {
  kind: 'read',
  name: 'qmcp.GetPropertyAIManaged',
  malformed: NOT_FOUND,
  answer(json, reading) {
    const wanted = request.safeParse(json);
    if (!wanted.success) return NOT_FOUND;
    const { name, property } = wanted.data;
    if (!property || typeof property === 'object') return NOT_FOUND;
    const held = reading.fleet.peek();
    return held ? answerFrom(held, name, property, reading) : readAgain(name, property, reading);
  },
};

const readAgain = async (name: string, property: unknown, reading: Reading): Promise<Reply> => {
  try {
    return await answerFrom(await reading.fleet.snapshot(), name, property, reading);
  } catch (error) {
    if (error instanceof AdminError) return READ_FAILED;
    throw error;
  }
};

const answerFrom = (snapshot: Snapshot, name: string, property: unknown, reading: Reading): Reply | Promise<Reply> => {
  const qube = isQubeName(name) ? snapshot.get(name) : undefined;
  if (!qube || !isManaged(qube)) return NOT_FOUND;
  if (typeof property !== 'string' || !FRAMABLE.test(property)) return READ_FAILED;
  if (property === 'klass') return { ok: true, value: qube.klass };
  if (property === 'tags') return { ok: true, value: [UMBRELLA] };
  if (property === 'power_state') return qube.state === 'unknown' ? READ_FAILED : { ok: true, value: qube.state };
  if (!PLATFORM_PROPERTIES.has(property)) return missing(property);
  const held = believable(qube, property, reading);
  return held ? valueReply(held, property, snapshot) : readLive(qube, property, snapshot, reading);
};

/** The value of the view, unless it may have changed without an event that names this qube. */
const believable = (qube: ViewedQube, property: string, { fleet }: Reading): PropertyValue | null => {
  const value = qube.properties?.get(property);
  if (!value || VOLATILE_PROPERTIES.has(property)) return null;
  return value.isDefault && !fleet.isCurrent(qube) ? null : value;
};

const readLive = async (qube: ViewedQube, property: string, snapshot: Snapshot, { admin }: Reading): Promise<Reply> => {
  try {
    return valueReply(await admin.property({ uuid: qube.uuid }, property), property, snapshot);
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    // The qube went away under us: then it is not there to be read, whatever it was.
    if (error.type === 'QubesVMNotFoundError') return NOT_FOUND;
    return error.type === 'QubesNoSuchPropertyError' || error.kind === 'empty' ? missing(property) : READ_FAILED;
  }
};

const missing = (property: string): Reply => refuse(`property '${property}' does not exist`);

/** The text as the declared type has it. An empty text is a value for strings and unset references only. */
const valueReply = ({ type, text }: PropertyValue, property: string, snapshot: Snapshot): Reply => {
  switch (type) {
    case 'vm':
      return { ok: true, value: text === '' ? null : redacted(snapshot, text) };
    case 'str':
      return { ok: true, value: text };
    case 'bool':
      return text === 'True' || text === 'False' ? { ok: true, value: text === 'True' } : missing(property);
    case 'int':
      return /^-?[0-9]{1,15}$/.test(text) ? { ok: true, value: Number(text) } : missing(property);
    case 'label':
      return text === '' ? missing(property) : { ok: true, value: text };
    default:
      return READ_FAILED;
  }
};

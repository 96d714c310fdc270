// qmcp.SetPropertyAIManaged (contract 1.3): one property of a managed qube, out of a short list.
import * as z from 'zod/mini';
import { riskOf } from '../authority/decide.ts';
import type { View } from '../confirm/question.ts';
import { readQube } from '../fleet/live.ts';
import { pythonFloat } from '../journal/python-json.ts';
import { isPropertyName, isQubeName } from '../names.ts';
import { isInScope } from '../principals/scope.ts';
import { NOT_FOUND, type Refusal, refuse } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError, type Destination } from '../qubesadmin/wire.ts';
import { type ChangeService, nameArg, type Operation, type Scene, type Wish, type Work } from './service.ts';
import { isPossible, isReference, isSettable, type Property, SETTABLE, valueWords } from './settable-properties.ts';
import { askedBy, shown, viewOf } from './words.ts';

const SERVICE = 'qmcp.SetPropertyAIManaged';
const ACTION = 'set-property';
const FAILED = refuse('set failed');
const NOT_SETTABLE = refuse('property not settable');
const OF_A_ROUTER = refuse('netvm of a network-providing qube is operator-only');
const RETARGET = refuse('netvm change is operator-only; null (disconnect) is permitted');

// A property that is no string is one that nobody can set; a list or object is no property at all. P25: a value that is not
// there is none, and does not disconnect.
const request = z.object({
  name: z.string().check(z.minLength(1)),
  property: z.union([z.string(), z.number(), z.boolean()]),
  value: z.unknown(),
});

export const setProperty: ChangeService = {
  kind: 'change',
  name: SERVICE,
  malformed: NOT_FOUND,
  opaque: NOT_FOUND,
  unavailable: FAILED,
  parse(json): Wish | Refusal {
    const wanted = request.safeParse(json);
    if (!wanted.success || !wanted.data.property) return NOT_FOUND;
    const { name, value } = wanted.data;
    const property = String(wanted.data.property);
    return {
      action: ACTION,
      roles: { target: name },
      attributes: { property, value },
      args: { name: nameArg(name), property: isPropertyName(property) ? property : null },
      request: { name, property, value },
      claims: isReference(property) && isQubeName(value) ? [value] : [],
      prepare: (scene) => prepare(property, value, scene),
    };
  },
};

const prepare = async (property: string, value: unknown, scene: Scene): Promise<Operation | Refusal> => {
  if (!isSettable(property)) return NOT_SETTABLE;
  const { admin } = scene;
  const target = scene.qubes.target as Qube;
  const dest = { uuid: target.uuid };
  if (property === 'netvm') {
    if (await providesNetwork(admin, dest)) return OF_A_ROUTER;
    if (value !== null) return RETARGET;
  }
  const referent = isReference(property) && value !== null ? await readReferent(property, value, scene) : null;
  if (referent && 'ok' in referent) return referent;
  const text = textOf(value);
  if (text === null) return FAILED;
  const before = await readCurrent(property, admin, dest);
  const risk = riskOf(SERVICE, ACTION, { property }) === 'destroy' ? 'destroy' : 'change';
  const change: Change = { property, target, referent, text, before, risk };
  return {
    risk,
    facts: {
      before: typeof before === 'string' ? before : { text: before.text },
      referent: referent && { uuid: referent.uuid, klass: referent.klass, tags: [...(referent.tags ?? [])].sort() },
    },
    obstacle: obstacleTo(change),
    failed: FAILED,
    describe: () => describe(change, scene),
    perform: (work) => perform(change, admin, work),
  };
};

/** One change, with the facts it was resolved to. */
interface Change {
  readonly property: Property;
  readonly target: Qube;
  /** The qube the value names, where it has to name one. */
  readonly referent: Qube | null;
  /** The value as qubesd is told it; empty to unset a reference. */
  readonly text: string;
  readonly before: Current;
  readonly risk: Operation['risk'];
}

/** The value there is now: qubesd's text, or why there is none. */
type Current = { readonly text: string; readonly isDefault: boolean } | 'missing' | 'unreadable';

/** P76: what cannot be read counts as a yes. */
const providesNetwork = async (admin: Admin, dest: Destination): Promise<boolean> => {
  try {
    return (await admin.property(dest, 'provides_network')).text !== 'False';
  } catch (error) {
    return unlessAway(error, true);
  }
};

const readReferent = async (property: Property, value: unknown, scene: Scene): Promise<Qube | Refusal> => {
  if (typeof value !== 'string') return refuse(`${property} value must be a qube name string or null`);
  const referent = await readQube(scene.admin, value);
  if (referent && isInScope(referent, scene.caller)) return referent;
  return refuse(`cross-ref property '${property}' must reference an ai-managed qube`);
};

const readCurrent = async (property: Property, admin: Admin, dest: Destination): Promise<Current> => {
  try {
    const { text, isDefault } = await admin.property(dest, property);
    return { text, isDefault };
  } catch (error) {
    return unlessAway<Current>(error, isMissing(error) ? 'missing' : 'unreadable');
  }
};

/** Stands in for a fact that qubesd does not give; that qubesd is away is no fact about the qube. */
const unlessAway = <T>(error: unknown, otherwise: T): T => {
  if (!(error instanceof AdminError) || error.isAway) throw error;
  return otherwise;
};

/** Python's str() of a JSON value, which is what the contract sends; null for what no property takes. */
const textOf = (value: unknown): string | null => {
  switch (typeof value) {
    case 'string':
      return value;
    case 'boolean':
      return value ? 'True' : 'False';
    case 'number':
      return Number.isSafeInteger(value) ? String(value) : pythonFloat(value);
    default:
      return value === null ? '' : null;
  }
};

/** Why qubesd would refuse it anyway. What is no obstacle can be shown: every value in a question has passed here. */
const obstacleTo = ({ property, target, referent, text, before }: Change): Refusal | null => {
  if (before === 'missing') return missing(property);
  if (before === 'unreadable' || !isPossible(property, text)) return FAILED;
  return property === 'template' && !canTake(target, referent) ? FAILED : null;
};

/** qubes.vm.appvm: a template is changed while the qube is halted, and to one of the right class. */
const canTake = (target: Qube, template: Qube | null): boolean =>
  template !== null && target.state === 'Halted' && TEMPLATE_KLASS[target.klass] === template.klass;

const TEMPLATE_KLASS: Readonly<Record<string, string>> = { AppVM: 'TemplateVM', DispVM: 'AppVM' };

const describe = async (change: Change, { admin, caller }: Scene): Promise<View> => {
  const { property, target, text, before, risk } = change;
  const { headline, meaning } = SETTABLE[property];
  return viewOf(risk, risk === 'destroy' ? target.name : null, [
    [headline, await shown(admin, target.name)],
    await askedBy(admin, caller),
    ['Now: ', ...(typeof before === 'string' ? ['unknown'] : await valueWords(property, before.text, admin))],
    ['Then: ', ...(await valueWords(property, text, admin))],
    [meaning],
  ]);
};

const perform = async ({ property, target, text, before }: Change, admin: Admin, work: Work) => {
  const own = typeof before === 'string' ? null : { value: before.isDefault ? null : before.text };
  await work.keep(target, { kind: 'property', name: property, before: own, after: text });
  try {
    await admin.setProperty({ uuid: target.uuid }, property, text);
    return { ok: true } as const;
  } catch (error) {
    // P35: every qube has a name, so there an empty answer is a refusal like any other.
    if (property === 'name' || !isMissing(error)) throw error;
    work.cause(error.type ?? error.kind);
    return missing(property);
  }
};

/** The failures that the client library of the platform reports as a property that is not there (contract 1.0.6). */
const isMissing = (error: unknown): error is AdminError =>
  error instanceof AdminError &&
  (error.kind === 'empty' || error.type === 'QubesNoSuchPropertyError' || error.type === 'QubesVMNotFoundError');

const missing = (property: Property): Refusal => refuse(`property '${property}' does not exist`);

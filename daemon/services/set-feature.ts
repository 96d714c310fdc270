// qmcp.SetFeatureAIManaged (contract 1.8): one feature of a managed qube, out of a list of harmless ones (R1).
import * as z from 'zod/mini';
import type { View } from '../confirm/question.ts';
import { readQube } from '../fleet/live.ts';
import { isFeatureName, isQubeName } from '../names.ts';
import { isInScope } from '../principals/scope.ts';
import { NOT_FOUND, type Refusal, type Reply, refuse } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError, type Destination } from '../qubesadmin/wire.ts';
import { type ChangeService, nameArg, type Operation, type Scene, type Wish } from './service.ts';
import { CROSS_QUBE_FEATURES, isSettableFeature } from './settable-features.ts';
import { askedBy, type Line, shown, viewOf } from './words.ts';

const FAILED = refuse('feature.Set failed');
const BAD_VALUE = refuse('value must be a string, integer, or boolean (null/remove is operator-only)');
const RESERVED = refuse('feature namespace qmcp* is reserved');

const request = z.object({
  name: z.string().check(z.minLength(1)),
  feature: z.string().check(z.minLength(1)),
  value: z.optional(z.unknown()),
});

export const setFeature: ChangeService = {
  kind: 'change',
  name: 'qmcp.SetFeatureAIManaged',
  malformed: refuse('invalid input'),
  opaque: NOT_FOUND,
  unavailable: FAILED,
  parse(json): Wish | Refusal {
    const wanted = request.safeParse(json);
    if (!wanted.success) return NOT_FOUND;
    const { name, feature, value = null } = wanted.data;
    return {
      action: 'set-feature',
      roles: { target: name },
      attributes: {},
      args: { name: nameArg(name), feature: isFeatureName(feature) ? feature : null },
      request: { name, feature, value },
      claims: CROSS_QUBE_FEATURES.has(feature) && isQubeName(value) ? [value] : [],
      prepare: (scene) => prepare(feature, value, scene),
    };
  },
};

const prepare = async (feature: string, value: unknown, scene: Scene): Promise<Operation | Refusal> => {
  const { admin, settings } = scene;
  const target = scene.qubes.target as Qube;
  const dest = { uuid: target.uuid };
  if (feature.startsWith('qmcp')) return RESERVED;
  // R20: what is not in the grammar of feature names never gets into the header of a call.
  if (!isFeatureName(feature) || !isSettableFeature(feature, settings.featuresAllowed)) {
    return refuse(`feature '${feature}' is operator-only`);
  }
  const referent = CROSS_QUBE_FEATURES.has(feature) ? await readReferent(value, scene) : null;
  if (CROSS_QUBE_FEATURES.has(feature) && !referent) {
    return refuse(`cross-VM feature '${feature}' must reference an ai-managed qube`);
  }
  const text = textOf(value);
  if (text === null) return BAD_VALUE;
  const read = await readNow(admin, dest, feature);
  const before = read?.value ?? null;
  return {
    risk: 'change',
    facts: { before, referent: referent && { uuid: referent.uuid, tags: [...(referent.tags ?? [])].sort() } },
    obstacle: isShowable(feature, text) ? null : FAILED,
    failed: FAILED,
    describe: () => describe(target, feature, before, text, scene),
    perform: async (work): Promise<Reply> => {
      await work.keep(target, { kind: 'feature', name: feature, before: read, after: text });
      await admin.setFeature(dest, feature, text);
      return { ok: true, feature, value: (await readNow(admin, dest, feature))?.value ?? null };
    },
  };
};

const readReferent = async (value: unknown, { admin, caller }: Scene): Promise<Qube | null> => {
  const referent = typeof value === 'string' ? await readQube(admin, value) : null;
  return referent && isInScope(referent, caller) ? referent : null;
};

/** Integers that were not sent exactly would not be the caller's; null for everything the contract does not take. */
const textOf = (value: unknown): string | null => {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? '1' : '';
  return Number.isSafeInteger(value) ? String(value) : null;
};

/** The value there is, null for none; or null where qubesd will not tell. */
const readNow = async (
  admin: Admin,
  dest: Destination,
  feature: string,
): Promise<{ readonly value: string | null } | null> => {
  try {
    return { value: await admin.feature(dest, feature) };
  } catch (error) {
    if (error instanceof AdminError) return null;
    throw error;
  }
};

const MAX_SHOWN = 200;
/** As long as a qube's name may be: in more, a caller could write a sentence (`ai-approved.by.your.administrator`). */
const MAX_SHOWN_NAME = 31;
const NUMBER = /^-?[0-9]{1,16}$/;
const APPLICATIONS = /^[A-Za-z0-9_.-]{1,96}\.desktop(?: [A-Za-z0-9_.-]{1,96}\.desktop)*$/;

/**
 * Whether a value can stand in a question: nothing at all, a number, the name of the managed qube that it was found to be, the
 * applications of a menu. Any other text would be a sentence of the caller's before the person's eyes (I5), and a question
 * that hides what it asks about is none. So where set-feature is asked, free text can be set by nobody but the operator.
 */
const isShowable = (feature: string, text: string): boolean =>
  feature.length <= MAX_SHOWN_NAME &&
  (text === '' ||
    NUMBER.test(text) ||
    CROSS_QUBE_FEATURES.has(feature) ||
    (feature === 'menu-items' && text.length <= MAX_SHOWN && APPLICATIONS.test(text)));

const describe = async (
  target: Qube,
  feature: string,
  before: string | null,
  text: string,
  { admin, caller }: Scene,
): Promise<View> =>
  viewOf('change', null, [
    ['Set a feature of ', await shown(admin, target.name)],
    await askedBy(admin, caller),
    [`Feature: ${feature}`],
    ['Now: ', ...(before === null ? ['not set'] : await valueWords(feature, before, admin))],
    ['Then: ', ...(await valueWords(feature, text, admin))],
    ['Programs in dom0 and in the qube may act on it. It can be set back.'],
  ]);

/** A value that can be shown, in words. What is there now may be a text, which only its length is told of. */
const valueWords = async (feature: string, text: string, admin: Admin): Promise<Line> => {
  if (text === '') return ['empty, which means off'];
  if (CROSS_QUBE_FEATURES.has(feature) && isQubeName(text)) return [await shown(admin, text)];
  if (!CROSS_QUBE_FEATURES.has(feature) && isShowable(feature, text)) return [text];
  return [`a text of ${text.length} characters`];
};

// What a clone takes over from its source (contract section 0, R8): what is listed here and nothing else. Device
// assignments, notes, autostart, provides_network and every property that is not listed stay behind.
import { readQube } from '../fleet/live.ts';
import { isFeatureName, isQubeName, type QubeName } from '../names.ts';
import { isManaged, LABELS, type Label, type Qube } from '../qube.ts';
import type { Admin, PropertyValue } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Settings } from '../settings/settings.ts';
import { CROSS_QUBE_FEATURES, isSettableFeature } from './settable-features.ts';

/** Klasses that can be cloned. A template or a standalone qube is an operator's to multiply; what is not known is, too. */
export type ClonedKlass = 'AppVM' | 'DispVM';
export const isClonedKlass = (klass: string): klass is ClonedKlass => klass === 'AppVM' || klass === 'DispVM';

/** Properties that a clone takes over where its source has them set. Limits before what they limit. */
const PROPERTIES = [
  // A restriction, so first: which devices may never be attached.
  'devices_denied',
  'virt_mode',
  'kernel',
  'kernelopts',
  'maxmem',
  'memory',
  'vcpus',
  'default_user',
  'qrexec_timeout',
  'shutdown_timeout',
  'include_in_backups',
  'template_for_dispvms',
] as const;
/** Names another qube: taken over if that one is managed, else unset, so that it never becomes the machine's default. */
const DEFAULT_DISPVM = 'default_dispvm';

/** The least trusted colour, for a source whose label is none of the platform's eight. */
const OTHER_LABEL: Label = 'red';
/** qubesd's own words for no rule at all: nothing is let through. */
const NO_RULES = 'action=drop\n';

const FEATURE_VALUE = /^[\x20-\x7e]{0,4096}$/;
/** A source with more of them is cloned by an operator. */
const MAX_FEATURES = 256;

export interface ClonePlan {
  readonly klass: ClonedKlass;
  readonly template: QubeName;
  readonly label: Label;
  /** Name and text, in the order in which they are set. */
  readonly properties: readonly (readonly [string, string])[];
  readonly features: readonly (readonly [string, string])[];
  readonly firewall: string;
}

/** Reads the plan off the source as it is now. Rejects with `AdminError` for what cannot be read. */
export const readClonePlan = async (
  source: Qube & { readonly klass: ClonedKlass },
  admin: Admin,
  { featuresAllowed }: Pick<Settings, 'featuresAllowed'>,
): Promise<ClonePlan> => {
  const dest = { uuid: source.uuid };
  const [values, names, firewall] = await Promise.all([
    admin.properties(dest),
    admin.featureNames(dest),
    admin.firewall(dest),
  ]);
  const template = values.get('template')?.text;
  if (!isQubeName(template)) throw new AdminError('malformed', null, 'no template');
  const label = LABELS.find((each) => each === values.get('label')?.text) ?? OTHER_LABEL;
  const settable = names.filter((name) => isFeatureName(name) && isSettableFeature(name, featuresAllowed)).sort();
  if (settable.length > MAX_FEATURES) throw new AdminError('malformed', null, 'too many features');
  return {
    klass: source.klass,
    template,
    label,
    properties: [...listedProperties(values), ...(await defaultDispvm(values, admin))],
    features: await readFeatures(source, settable, admin),
    firewall: firewall || NO_RULES,
  };
};

const isSet = (value: PropertyValue | undefined): value is PropertyValue => value !== undefined && !value.isDefault;

const listedProperties = (values: ReadonlyMap<string, PropertyValue>): [string, string][] =>
  PROPERTIES.flatMap((name): [string, string][] => {
    const value = values.get(name);
    return isSet(value) ? [[name, value.text]] : [];
  });

const defaultDispvm = async (values: ReadonlyMap<string, PropertyValue>, admin: Admin): Promise<[string, string][]> => {
  const value = values.get(DEFAULT_DISPVM);
  if (!isSet(value)) return [];
  return [[DEFAULT_DISPVM, (await isManagedName(admin, value.text)) ? value.text : '']];
};

const readFeatures = async (source: Qube, names: readonly string[], admin: Admin): Promise<[string, string][]> => {
  const features: [string, string][] = [];
  for (const name of names) {
    const value = await admin.feature({ uuid: source.uuid }, name);
    if (value === null || !FEATURE_VALUE.test(value)) continue;
    if (CROSS_QUBE_FEATURES.has(name) && !(await isManagedName(admin, value))) continue;
    features.push([name, value]);
  }
  return features;
};

const isManagedName = async (admin: Admin, name: string): Promise<boolean> => {
  const qube = await readQube(admin, name);
  return qube !== null && isManaged(qube);
};
